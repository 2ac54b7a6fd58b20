//! The message as it is sent. `tests/alerts/` sends mail to a real server.

use super::*;

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
