"""The HTTP service and the issuer that a leveret asks."""

import http.server
import json
import ssl
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

#: What tokens are for.
AUDIENCE = "mq"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self._answer(path, query)

    def do_POST(self):
        self._answer(self.path, self.rfile.read(int(self.headers["content-length"])).decode())

    def _answer(self, path, form):
        fields = dict(urllib.parse.parse_qsl(form, keep_blank_values=True))
        status, body = self.server.answer(path, fields)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Service:
    """Serves on a free port of loopback; over TLS with the certificate and key of `identity`."""

    def __init__(self, identity=None):
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        # A client that goes away is none.
        self._server.handle_error = lambda *_: None
        self._server.answer = self.answer
        self._scheme = "http"
        if identity:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*identity)
            # The handshake is for the thread of the connection.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._scheme = "https"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path):
        return f"{self._scheme}://localhost:{self._server.server_port}{path}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Users(_Service):
    """Knows `web` with password `web`, an administrator who may do anything with names that begin with `web`, but
    write to `news` with no other key than those that begin with `web.`; and `slow`, about whom it thinks for ever."""

    def __init__(self, identity):
        self.asked = []
        self.is_down = False
        self._ended = threading.Event()
        super().__init__(identity)

    def answer(self, path, fields):
        self.asked.append((path, fields))
        if self.is_down:
            return 503, b"later"
        if fields.get("username") == "slow":
            self._ended.wait()
        allowed = {
            "/user": lambda: (fields["username"], fields["password"]) == ("web", "web"),
            "/vhost": lambda: fields["vhost"] == "/",
            "/resource": lambda: fields["name"].startswith("web") or fields["name"] in ("amq.topic", "amq.default"),
            "/topic": lambda: fields["routing_key"].startswith("web."),
        }[path]()
        if not allowed:
            return 200, b"deny no such luck"
        return 200, b"allow administrator" if path == "/user" else b"allow"

    def stop(self):
        self._ended.set()
        super().stop()


class Issuer(_Service):
    """Signs tokens with a key that can be replaced, and publishes it as OpenID Connect has it."""

    def __init__(self, identity):
        self.is_down = False
        self._published = []
        self.rotate()
        super().__init__(identity)

    def rotate(self):
        """Sign with a new key, which is published from now on beside the others."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = f"key-{len(self._published)}"
        jwk = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        self._published.append(jwk | {"kid": self._key_id, "use": "sig", "alg": "ES256"})

    def token(self, user, *scopes, seconds=600, **claims):
        payload = {
            "iss": self.url("/realm"),
            "sub": user,
            "aud": AUDIENCE,
            "exp": time.time() + seconds,
            "scope": " ".join(scopes),
        }
        headers = {"kid": self._key_id}
        return jwt.encode(payload | claims, self._key, algorithm="ES256", headers=headers)

    def answer(self, path, fields):
        if self.is_down:
            return 503, b"later"
        if path == "/realm/.well-known/openid-configuration":
            page = {"issuer": self.url("/realm"), "jwks_uri": self.url("/keys")}
        elif path == "/keys":
            page = {"keys": self._published}
        else:
            return 404, b""
        return 200, json.dumps(page).encode()
