//! docs/configuration.md and the list of settings say the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::path::PathBuf;

#[test]
fn the_configuration_page_is_the_list_of_settings() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = tracing_journey::settings_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/configuration.md is not what the list says: run this test with UPDATE_DOCS=1");
}
