"""A mail server. Appends each mail as a line of JSON to the file that its first argument names.

It refuses mail to addresses that begin with `nobody`.
"""

import argparse
import asyncio
import json
import ssl
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

parser = argparse.ArgumentParser()
parser.add_argument("log", type=Path)
parser.add_argument("--certificate", help="a certificate with its key")
parser.add_argument("--implicit", action="store_true", help="TLS from the start, not by STARTTLS")
parser.add_argument("--password", help="who does not sign in as `guard` with it is refused")
options = parser.parse_args()


class Handler:
    """Takes the mail."""

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        record = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "mail": envelope.content.decode(),
            "tls": session.ssl is not None or options.implicit,
            "user": session.auth_data.login.decode() if session.auth_data else None,
        }
        with options.log.open("a") as log:
            log.write(json.dumps(record) + "\n")
        return "250 2.0.0 queued as 4711"


def authenticate(*arguments: object) -> AuthResult:
    data = arguments[-1]
    right = LoginPassword(b"guard", (options.password or "").encode())
    # Not handled: aiosmtpd answers.
    return AuthResult(success=data == right, handled=False, auth_data=data)


async def serve() -> None:
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            Handler(),
            hostname="mail.test",
            loop=loop,
            tls_context=None if options.implicit else context,
            require_starttls=context is not None and not options.implicit,
            auth_required=options.password is not None,
            auth_require_tls=False,
            authenticator=authenticate,
        )

    implicit = context if options.implicit else None
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=implicit)
    # In the form that the tests wait for.
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(serve())
