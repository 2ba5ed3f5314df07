//! What the global options make of a log.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use super::*;

fn invocation(words: &str) -> Invocation {
    let words: Vec<OsString> = std::iter::once("crun").chain(words.split(' ')).map(OsString::from).collect();
    match cli::args::parse(&words) {
        Ok(invocation) => invocation,
        Err(_) => panic!("{words:?}"),
    }
}

fn mistake(options: &str) -> String {
    Log::new(&invocation(&format!("{options} list"))).unwrap_err().to_string()
}

#[test]
fn an_option_that_is_wrong_is_told_in_the_words_of_the_c_crun() {
    assert_eq!(mistake("--log-format=xml"), "unknown log format type `xml`");
    assert_eq!(mistake("--log-level=info"), "unknown verbosity `info` specified");
    assert_eq!(mistake("--log=other:x"), "unknown log type `other:x`");
    assert_eq!(mistake("--log=file:"), "open log file ``: No such file or directory");
    assert_eq!(mistake("--log=/"), "open log file `/`: Is a directory");
}

#[test]
fn a_colon_in_a_directory_makes_no_type_of_a_path() {
    assert_eq!(
        mistake("--log=/nonexistent:x/y"),
        "open log file `/nonexistent:x/y`: No such file or directory"
    );
}

#[test]
fn the_container_is_found_where_the_command_has_it() {
    let of = |words| container(&invocation(words)).map(str::to_owned);
    for words in ["create web", "exec web cat web2", "kill web KILL", "mounts add web file", "update web"] {
        assert_eq!(of(words).as_deref(), Some("web"), "{words}");
    }
    for words in ["list", "spec", "features", "seccomp /bundle"] {
        assert_eq!(of(words), None, "{words}");
    }
}

#[test]
fn a_service_that_does_not_read_is_not_waited_for_long() {
    let path = std::env::temp_dir().join(format!("crun-log-full-{}", std::process::id()));
    let _service = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let socket = datagram::socket().unwrap();
    let start = Instant::now();
    let full = (0..10_000).find_map(|_| socket.send_to(&[b'x'; 1000], &path).err()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    assert!((Duration::from_millis(900)..Duration::from_secs(30)).contains(&start.elapsed()));
}
