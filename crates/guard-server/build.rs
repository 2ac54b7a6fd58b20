//! A release build embeds the dashboard from `web/dist`, so it must be built again when that
//! changes. A debug build reads the folder when it runs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=../../web/dist");
    }
}
