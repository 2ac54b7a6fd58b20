use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::*;

const TELL: &str = "TELL_AUTHORITIES";

/// The authorities that a process with this environment trusts.
fn trusted(settings: &[(&str, &Path)]) -> BTreeSet<String> {
    let this_test = std::env::current_exe().expect("a test");
    let told = Command::new(this_test)
        .args(["--exact", "--nocapture"])
        .arg("transport::http::tests::a_private_authority_is_added_to_the_systems")
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env(TELL, "yes")
        .envs(settings.iter().copied())
        .output()
        .expect("it runs");
    let told = String::from_utf8(told.stdout).expect("text");
    let lines = told.lines().filter_map(|line| line.strip_prefix("trusts "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_private_authority_is_added_to_the_systems() {
    if std::env::var_os(TELL).is_some() {
        println!();
        for authority in authorities() {
            println!("trusts {:?}", authority.as_ref());
        }
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport/http");
    let file = folder.join("private-authority.pem");
    let systems = trusted(&[]);
    let nothing = folder.join("nothing.pem");
    assert_eq!(trusted(&[("SSL_CERT_FILE", nothing.as_path())]), systems);
    for settings in [
        &[("SSL_CERT_FILE", file.as_path())],
        &[("SSL_CERT_DIR", folder.as_path())],
    ] {
        let all = trusted(settings);
        assert!(
            all.is_superset(&systems),
            "{} of {}",
            all.len(),
            systems.len()
        );
        assert_eq!(all.len(), systems.len() + 1);
    }
}
