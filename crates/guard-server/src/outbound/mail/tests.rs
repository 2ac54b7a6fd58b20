//! The message as it is sent. `tests/alerts/` sends mail to a real server.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::outbound::SystemResolver;

fn server() -> MailServer {
    MailServer {
        host: "mail.example.com".to_owned(),
        port: 587,
        tls: MailTls::StartTls,
        from: "Guard <guard@example.com>".parse().unwrap(),
        sign_in: Some(("guard".to_owned(), "hush".into())),
    }
}

fn mail() -> Mail {
    Mail {
        id: "0123abcd".to_owned(),
        thread: "a1-1796059205".to_owned(),
        to: vec![
            "ops@example.com".parse().unwrap(),
            "b@example.org".parse().unwrap(),
        ],
        subject: "[Guard] Alert: Brute force (shop)".to_owned(),
        text: "1,204 events\n\nSince: …".to_owned(),
        html: "<p>1,204 events</p>".to_owned(),
        at: "2026-11-30T17:32:35Z".parse().unwrap(),
    }
}

/// The headers of the whole mail, with each on one line.
fn headers(mail: Mail) -> Vec<String> {
    let bytes = message(&server(), mail).unwrap().formatted();
    let text = String::from_utf8(bytes).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    head.replace("\r\n ", " ")
        .split("\r\n")
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_mail_has_a_date_an_id_and_a_thread() {
    let headers = headers(mail());
    for expected in [
        "From: Guard <guard@example.com>",
        "To: ops@example.com, b@example.org",
        "Subject: [Guard] Alert: Brute force (shop)",
        "Date: Mon, 30 Nov 2026 17:32:35 +0000",
        "Message-ID: <0123abcd@example.com>",
        "References: <a1-1796059205@example.com>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(
            headers.iter().any(|header| header == expected),
            "{expected}: {headers:#?}"
        );
    }
    assert_eq!(headers.len(), 9, "{headers:#?}");
}

#[test]
fn nothing_in_a_mail_adds_a_header() {
    let attack = "a\r\nBcc: eve@example.net\r\n\r\n<b>";
    let headers = headers(Mail {
        id: attack.to_owned(),
        thread: attack.to_owned(),
        subject: attack.to_owned(),
        text: attack.to_owned(),
        html: attack.to_owned(),
        ..mail()
    });
    assert_eq!(headers.len(), 9, "{headers:#?}");
    assert!(
        !headers.iter().any(|header| header.starts_with("Bcc")),
        "{headers:#?}"
    );
}

#[test]
fn the_password_is_not_shown() {
    assert!(!format!("{:?}", server()).contains("hush"));
}

/// A mail server that answers each command by its first word, and returns what it was told.
async fn scripted(answers: &'static [(&'static str, &'static str)]) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.test\r\n").await.unwrap();
        let (mut told, mut is_content) = (String::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return told;
            }
            told.push_str(&line);
            if is_content && line != ".\r\n" {
                continue;
            }
            let found = answers
                .iter()
                .find(|(command, _)| line.starts_with(command));
            let answer = found.map_or("250 OK", |(_, answer)| answer);
            is_content = answer.starts_with("354");
            stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .await
                .unwrap();
        }
    };
    (port, tokio::spawn(serving))
}

const DATA: (&str, &str) = ("DATA", "354 go on");

async fn send(port: u16, tls: MailTls, sign_in: bool) -> Result<Receipt, Failure> {
    let server = MailServer {
        host: "127.0.0.1".to_owned(),
        port,
        tls,
        sign_in: server().sign_in.filter(|_| sign_in),
        ..server()
    };
    let mailer = Mailer::new(Some(server), Arc::new(SystemResolver));
    mailer.send(mail()).await
}

#[tokio::test]
async fn a_mail_goes_to_the_addresses_that_the_server_takes() {
    const REFUSAL: (&str, &str) = ("RCPT TO:<ops@", "550 5.1.1 no such\x1buser");
    const END: (&str, &str) = (".\r\n", "250 2.0.0 queued as 4711");
    let (port, told) = scripted(&[REFUSAL, DATA, END]).await;
    let receipt = send(port, MailTls::None, false).await.unwrap();
    let expected = r"2.0.0 queued as 4711; it refused ops@example.com: 5.1.1 no such\u{1b}user";
    assert_eq!((receipt.code, &*receipt.reply), (250, expected));
    let told = told.await.unwrap();
    assert!(told.contains("MAIL FROM:<guard@example.com>\r\n"), "{told}");
    assert!(told.contains("RCPT TO:<b@example.org>\r\n"), "{told}");
    assert!(told.ends_with("QUIT\r\n"), "{told}");
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let (port, told) = scripted(&[DATA]).await;
    let failure = send(port, MailTls::StartTls, true).await.unwrap_err();
    assert_eq!(failure, Failure::NoStartTls);
    let told = told.await.unwrap();
    assert!(!told.contains("AUTH") && !told.contains("MAIL"), "{told}");
}

#[tokio::test]
async fn a_refusal_names_the_step_and_the_answer() {
    for (answers, sign_in, step, code) in [
        (&[("EHLO", "421 too busy")][..], false, Step::Greeting, 421),
        (
            &[
                ("EHLO", "250-mail.test\r\n250 AUTH PLAIN"),
                ("AUTH", "535 wrong"),
            ],
            true,
            Step::SignIn,
            535,
        ),
        (&[("MAIL", "451 later")], false, Step::Handover, 451),
        (&[("RCPT", "550 no such user")], false, Step::Handover, 550),
        (&[DATA, (".\r\n", "554 spam")], false, Step::Handover, 554),
    ] {
        let (port, _told) = scripted(answers).await;
        let failure = send(port, MailTls::None, sign_in).await.unwrap_err();
        let found = match &failure {
            Failure::MailRefused { step, code, .. } => Some((*step, *code)),
            _ => None,
        };
        assert_eq!(found, Some((step, code)), "{failure}");
        assert!(!failure.to_string().contains("hush"), "{failure}");
    }
}

#[tokio::test]
async fn other_failures_name_the_step_too() {
    let (port, _told) = scripted(&[]).await;
    let failure = send(port, MailTls::None, true).await.unwrap_err();
    assert_eq!(failure, Failure::NoSignIn);

    let (port, _told) = scripted(&[("EHLO", "hello")]).await;
    let failure = send(port, MailTls::None, false).await.unwrap_err();
    let is_greeting = matches!(
        failure,
        Failure::Broken {
            step: Step::Greeting,
            ..
        }
    );
    assert!(is_greeting, "{failure}");

    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let failure = send(port, MailTls::None, false)
        .await
        .unwrap_err()
        .to_string();
    assert!(failure.contains("Connection refused"), "{failure}");

    let none = Mailer::new(None, Arc::new(SystemResolver));
    assert_eq!(none.send(mail()).await.unwrap_err(), Failure::NoMailServer);
}
