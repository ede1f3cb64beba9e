//! A registry that has every image: each HEAD is answered with a digest made from the path.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use portolan::image::Digest;

/// Answers for as long as this program runs.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut path = String::new();
    for line in BufReader::new(stream).lines() {
        // A client that is killed resets its connection.
        let Ok(line) = line else { return };
        if let Some(rest) = line.strip_prefix("HEAD ") {
            rest.clone_into(&mut path);
        }
        if line.is_empty() {
            let digest = Digest::of(path.as_bytes());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
                 Docker-Content-Digest: {digest}\r\nContent-Length: 1024\r\n\r\n"
            );
            if writer.write_all(head.as_bytes()).is_err() {
                return;
            }
        }
    }
}
