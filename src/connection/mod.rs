//! One peer's session below its protection: frames of packets in and out. Stub.
