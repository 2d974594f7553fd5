//! When a verb gives up: links dial again for ever by themselves.

use crate::core::{Down, Event, is_about_us};
use crate::exit::{Exit, Failure};
use crate::url::StreamUrl;
use sluice_moqt::error::RequestCode;
use std::time::Instant;

/// Waits for a first session and a first catalog, no longer than the user said. Once there was one, it waits on.
#[derive(Debug)]
pub(crate) struct Patience {
    url: StreamUrl,
    until: Instant,
    up: bool,
    found: bool,
    last: Option<Down>,
}

impl Patience {
    pub(crate) const fn new(url: StreamUrl, until: Instant) -> Self {
        Self { url, until, up: false, found: false, last: None }
    }

    /// The verb has what it wants: a stream, or an accepted namespace.
    pub(crate) const fn satisfied(&mut self) {
        self.found = true;
    }

    /// What an event means for going on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other events are progress")]
    pub(crate) fn handle_event(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Up => self.up = true,
            Event::Catalog(_) | Event::Announced => self.found = true,
            Event::Down { why, .. } => {
                let fatal = !self.up && why.is_final();
                self.last = Some(why.clone());
                if fatal {
                    return Err(self.unreachable());
                }
            }
            Event::Refused { what, code, reason } if !self.found => {
                return Err(self.refused(what, *code, reason));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether time is up.
    pub(crate) fn handle_timeout(&self, now: Instant) -> Result<(), Failure> {
        if self.found || now < self.until { Ok(()) } else { Err(self.verdict()) }
    }

    /// Why nothing came.
    pub(crate) fn verdict(&self) -> Failure {
        if self.up && self.last.is_none() {
            let namespace = self.url.namespace();
            let message = format!("nobody publishes {namespace} at {}; check the path", self.url.authority());
            return Failure::new(Exit::NoSuchStream, message);
        }
        self.unreachable()
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        if self.found { None } else { Some(self.until) }
    }

    fn unreachable(&self) -> Failure {
        let Some(why) = &self.last else {
            let message = format!("{} does not answer; check address, port and UDP", self.url.authority());
            return Failure::new(Exit::Unreachable, message);
        };
        let exit = why.exit();
        let fix = if exit == Exit::Tls { "; trust its authority by --ca, or use --insecure for a test" } else { "" };
        Failure::new(exit, format!("{}: {why}{fix}", self.url.authority()))
    }

    fn refused(&self, what: &str, code: RequestCode, reason: &str) -> Failure {
        let exit = if is_about_us(code) {
            Exit::Auth
        } else if code == RequestCode::DoesNotExist {
            Exit::NoSuchStream
        } else {
            Exit::Protocol
        };
        let sep = if reason.is_empty() { "" } else { ": " };
        Failure::new(exit, format!("{} refuses {what} ({code:?}){sep}{reason}", self.url.authority()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_moqt::transport::CloseReason;
    use sluice_net::clock::{Clock as _, ManualClock};
    use std::time::Duration;

    fn patience() -> (Patience, Instant) {
        let start = ManualClock::new(Duration::ZERO).now();
        let url = "moqt://relay:4443/live/x".parse().unwrap();
        (Patience::new(url, start + Duration::from_secs(5)), start + Duration::from_secs(5))
    }

    fn down(reason: CloseReason) -> Event {
        Event::Down { why: Down::Dial(reason), retry: None }
    }

    #[test]
    fn silence_is_unreachable_and_an_empty_relay_has_no_stream() {
        let (mut patience, late) = patience();
        assert_eq!(patience.handle_timeout(late).unwrap_err().exit(), Exit::Unreachable);
        patience.handle_event(&Event::Up).unwrap();
        let failure = patience.handle_timeout(late).unwrap_err();
        assert_eq!((failure.exit(), failure.to_string().contains("live-x")), (Exit::NoSuchStream, true));
        patience.satisfied();
        patience.handle_timeout(late).unwrap();
        assert_eq!(patience.poll_timeout(), None);
    }

    #[test]
    fn a_bad_certificate_ends_at_once_but_only_before_the_first_session() {
        let (mut patience, _) = patience();
        patience.handle_event(&down(CloseReason::TimedOut)).unwrap();
        let tls = down(CloseReason::Transport("peer's certificate is from an unknown issuer".into()));
        assert_eq!(patience.handle_event(&tls).unwrap_err().exit(), Exit::Tls);
        patience.handle_event(&Event::Up).unwrap();
        patience.handle_event(&tls).unwrap();
    }

    #[test]
    fn a_refused_namespace_says_why() {
        let (mut patience, _) = patience();
        let refused = |code| Event::Refused { what: "PUBLISH_NAMESPACE", code, reason: "no token".into() };
        assert_eq!(patience.handle_event(&refused(RequestCode::Unauthorized)).unwrap_err().exit(), Exit::Auth);
        let failure = patience.handle_event(&refused(RequestCode::NotSupported)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Protocol);
        assert!(failure.to_string().contains("no token"), "{failure}");
    }
}
