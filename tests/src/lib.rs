//! Integration tests by area: see `tests/`. Each runs the real binary (`CRUN_BIN`, set by `cargo xtask test`) and looks
//! at what it did from inside the container and from outside.

#![forbid(unsafe_code)]
