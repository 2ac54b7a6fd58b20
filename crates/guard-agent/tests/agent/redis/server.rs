//! A Redis server for one test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::{Client, Connection};
use tempfile::TempDir;

use crate::support::eventually;

/// Debian's redis-server on a free port, with its data in a temporary folder. By default it
/// writes every change to disk before it answers.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            port: listener.local_addr().unwrap().port(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            child: None,
        };
        drop(listener);
        server.restart();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills it with SIGKILL if it runs.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Restarts it with the data that it wrote to disk.
    pub(crate) fn restart(&mut self) {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        eventually("Redis answers", || {
            // This also works if the server requires a password.
            let connection = Client::open(self.url()).unwrap().get_connection();
            let answer = connection.and_then(|mut c| redis::cmd("PING").query::<()>(&mut c));
            answer.is_ok() || answer.is_err_and(|error| error.code() == Some("NOAUTH"))
        });
    }

    /// Opens a connection separate from the agents'.
    pub(crate) fn connect(&self) -> Connection {
        Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// Runs one command, given as words separated by spaces, and returns the answer.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connect()).unwrap()
    }

    /// Stops it from answering until [`wake`](Self::wake).
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
