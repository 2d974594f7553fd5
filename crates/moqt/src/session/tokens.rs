//! The cache of the peer's authorization tokens (draft-18 9.2.2).

use super::event::ResolvedToken;
use super::fault::Fault;
use crate::error::SessionCode;
use crate::message::Token;
use bytes::Bytes;
use std::collections::BTreeMap;

/// draft-18 9.3.1.3: "The token size is calculated as 16 bytes + the size of the Token Value field".
const ENTRY_OVERHEAD: u64 = 16;

/// Registered tokens by alias, below the limit that we advertised.
#[derive(Debug, Clone)]
pub(super) struct TokenCache {
    limit: u64,
    used: u64,
    tokens: BTreeMap<u64, ResolvedToken>,
}

/// A message's tokens, or the fact that it names an alias that is not registered, for which the message (not the
/// session) is rejected.
pub(super) type Resolved = Result<Vec<ResolvedToken>, UnknownAlias>;

/// An alias that is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownAlias;

impl TokenCache {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, tokens: BTreeMap::new() }
    }

    /// Applies the tokens of SETUP. A registration above the limit counts as USE_VALUE (draft-18 9.3.1.4: "it MUST NOT
    /// fail the session with `AUTH_TOKEN_CACHE_OVERFLOW`").
    pub(super) fn apply_setup(&mut self, tokens: &[Token]) -> Result<(), Fault> {
        for token in tokens {
            match token {
                // draft-18 9.2.2: these in SETUP "MUST close the session with a `PROTOCOL_VIOLATION`".
                Token::Delete { .. } | Token::UseAlias { .. } => {
                    return Err(Fault::violation("SETUP refers to a token alias"));
                }
                Token::Register { alias, kind, value } => {
                    if self.fits(value) {
                        self.register(*alias, *kind, value)?;
                    }
                }
                Token::UseValue { .. } => {}
            }
        }
        Ok(())
    }

    /// Applies and resolves the tokens of a message, in order. Registrations count even if the message is rejected.
    pub(super) fn resolve(&mut self, tokens: &[Token]) -> Result<Resolved, Fault> {
        let mut out: Vec<ResolvedToken> = Vec::with_capacity(tokens.len());
        let mut unknown = false;
        for token in tokens {
            let resolved = match token {
                Token::Delete { alias } => {
                    unknown |= !self.delete(*alias);
                    continue;
                }
                Token::Register { alias, kind, value } => {
                    if !self.fits(value) && !self.tokens.contains_key(alias) {
                        return Err(Fault::new(
                            SessionCode::AuthTokenCacheOverflow,
                            "registered tokens exceed MAX_AUTH_TOKEN_CACHE_SIZE",
                        ));
                    }
                    self.register(*alias, *kind, value)?;
                    ResolvedToken { kind: *kind, value: value.clone() }
                }
                Token::UseAlias { alias } => {
                    let Some(token) = self.tokens.get(alias) else {
                        unknown = true;
                        continue;
                    };
                    token.clone()
                }
                Token::UseValue { kind, value } => ResolvedToken { kind: *kind, value: value.clone() },
            };
            // draft-18 9.2.2: repeatable "as long as the combination of Token Type and Token Value are unique".
            if out.contains(&resolved) {
                return Err(Fault::violation("an authorization token is repeated in one message"));
            }
            out.push(resolved);
        }
        Ok(if unknown { Err(UnknownAlias) } else { Ok(out) })
    }

    fn fits(&self, value: &Bytes) -> bool {
        self.used.saturating_add(entry_size(value)) <= self.limit
    }

    fn register(&mut self, alias: u64, kind: u64, value: &Bytes) -> Result<(), Fault> {
        if self.tokens.contains_key(&alias) {
            return Err(Fault::new(SessionCode::DuplicateAuthTokenAlias, "token alias is registered already"));
        }
        self.used = self.used.saturating_add(entry_size(value));
        self.tokens.insert(alias, ResolvedToken { kind, value: value.clone() });
        Ok(())
    }

    fn delete(&mut self, alias: u64) -> bool {
        let Some(token) = self.tokens.remove(&alias) else {
            return false;
        };
        self.used = self.used.saturating_sub(entry_size(&token.value));
        true
    }
}

fn entry_size(value: &Bytes) -> u64 {
    ENTRY_OVERHEAD.saturating_add(value.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(alias: u64, value: &'static str) -> Token {
        Token::Register { alias, kind: 0, value: Bytes::from_static(value.as_bytes()) }
    }

    fn token(value: &'static str) -> ResolvedToken {
        ResolvedToken { kind: 0, value: Bytes::from_static(value.as_bytes()) }
    }

    #[test]
    fn aliases_resolve_until_deleted() {
        let mut cache = TokenCache::new(100);
        assert_eq!(cache.resolve(&[register(1, "a")]), Ok(Ok(vec![token("a")])));
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 1 }]), Ok(Ok(vec![token("a")])));
        assert_eq!(cache.resolve(&[Token::Delete { alias: 1 }]), Ok(Ok(vec![])));
        assert_eq!(cache.used, 0);
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 1 }]), Ok(Err(UnknownAlias)));
    }

    #[test]
    fn registrations_count_even_when_the_message_is_rejected() {
        let mut cache = TokenCache::new(100);
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 9 }, register(1, "a")]), Ok(Err(UnknownAlias)));
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 1 }]), Ok(Ok(vec![token("a")])));
    }

    #[test]
    fn the_limit_counts_16_bytes_and_the_value() {
        let mut cache = TokenCache::new(40);
        assert!(cache.resolve(&[register(1, "abcd")]).is_ok());
        assert!(cache.resolve(&[register(2, "abcd")]).is_ok());
        let code = cache.resolve(&[register(3, "")]).map_err(|fault| fault.code);
        assert_eq!(code, Err(SessionCode::AuthTokenCacheOverflow));
    }

    #[test]
    fn an_alias_is_registered_once() {
        let mut cache = TokenCache::new(17);
        assert!(cache.resolve(&[register(1, "a")]).is_ok());
        let code = cache.resolve(&[register(1, "b")]).map_err(|fault| fault.code);
        assert_eq!(code, Err(SessionCode::DuplicateAuthTokenAlias));
    }

    #[test]
    fn setup_registrations_above_the_limit_count_as_values() {
        let mut cache = TokenCache::new(16);
        assert_eq!(cache.apply_setup(&[register(1, "too long"), register(2, "")]), Ok(()));
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 1 }]), Ok(Err(UnknownAlias)));
        assert!(matches!(cache.resolve(&[Token::UseAlias { alias: 2 }]), Ok(Ok(_))));
    }

    #[test]
    fn setup_must_not_refer_to_aliases() {
        for token in [Token::Delete { alias: 1 }, Token::UseAlias { alias: 1 }] {
            let code = TokenCache::new(100).apply_setup(&[token]).map_err(|fault| fault.code);
            assert_eq!(code, Err(SessionCode::ProtocolViolation));
        }
    }
}
