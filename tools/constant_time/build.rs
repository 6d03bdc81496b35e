//! Builds the three requests to valgrind, which only a C compiler can make.

fn main() {
    println!("cargo:rerun-if-changed=src/requests.c");
    cc::Build::new().file("src/requests.c").compile("requests");
}
