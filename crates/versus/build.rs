//! Notes the compiler, for the header of the report.

use std::{env, process::Command};

fn main() {
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(compiler).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo::rustc-env=VERSUS_RUSTC={}", version.unwrap_or_default());
    println!("cargo::rustc-env=VERSUS_FLAGS={}", env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default());
    println!("cargo::rustc-env=VERSUS_PROFILE={}", env::var("PROFILE").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
}
