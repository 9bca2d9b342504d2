"""Certificates for one run, made by openssl."""

import pathlib
import subprocess


class Authority:
    """Signs certificates, which lie as NAME.pem and NAME-key.pem in its directory."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory, name)
        self.directory.mkdir()
        self.certificate = str(self.directory / "ca.pem")
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "30", "-subj", f"/CN={name}"),
        )

    def _openssl(self, *arguments):
        done = subprocess.run(("openssl", *arguments), cwd=self.directory, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")

    def sign(self, name, subject, extensions="", days=30):
        """A certificate that ends in so many days; they may be behind us. Returns the paths of it and its key."""
        extension_file = self.directory / "extensions"
        extension_file.write_text(extensions)
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", subject),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem"),
            *("-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.pem", "-days", str(days)),
        )
        return self.paths(name)

    def sign_server(self, name="server"):
        return self.sign(name, "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")

    def paths(self, name):
        return str(self.directory / f"{name}.pem"), str(self.directory / f"{name}-key.pem")
