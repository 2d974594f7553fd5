//! Generated pages of the documentation, compared with what is in `docs/`.

use std::env;
use std::fs;
use std::path::Path;

/// Fails while the file at `path`, from the root of the repository, is not `expected`; with `SLUICE_UPDATE_DOCS=1` in
/// the environment it is written instead.
pub(crate) fn assert_page(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if env::var_os("SLUICE_UPDATE_DOCS").is_some() {
        fs::write(&file, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is stale; write it again with: SLUICE_UPDATE_DOCS=1 cargo test -p sluice-relay is_current"
    );
}
