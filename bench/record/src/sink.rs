//! Asks the sink what has arrived.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde::Deserialize;

/// The sink, by its host and port.
pub(crate) struct Sink(String);

#[derive(Deserialize)]
struct Counts {
    events: usize,
}

impl Sink {
    /// The sink at an address such as `http://127.0.0.1:8080`.
    pub(crate) fn at(address: &str) -> Self {
        Self(address.trim_start_matches("http://").to_owned())
    }

    /// How many distinct events have arrived.
    pub(crate) fn events(&self) -> io::Result<usize> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.write_all(
            format!(
                "GET /counts HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.0
            )
            .as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str::<Counts>(body)?.events)
    }
}
