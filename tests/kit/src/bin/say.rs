//! Says its arguments, a line each, to the socket in `NOTIFY_SOCKET` (sd_notify(3)).

use std::os::unix::net::UnixDatagram;

fn main() -> std::io::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let socket = std::env::var("NOTIFY_SOCKET").map_err(std::io::Error::other)?;
    UnixDatagram::unbound()?.send_to(words.join("\n").as_bytes(), socket).map(drop)
}
