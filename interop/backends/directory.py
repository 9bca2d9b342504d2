"""OpenLDAP's slapd with a few people, for one run."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

#: Seconds for it to listen.
START_LIMIT = 20

#: What of Debian it takes.
PACKAGES = ("slapd", "libodbc2", "libltdl7")

SUFFIX = "dc=example,dc=org"
READER, READER_PASSWORD = f"cn=reader,{SUFFIX}", "r0 of the reader"

ENTRIES = f"""
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {READER_PASSWORD}

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
departmentNumber: sales
userPassword: ann's

dn: uid=bob,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
userPassword: bob's

dn: cn=sales,{SUFFIX}
objectClass: groupOfNames
cn: sales
member: uid=ann,ou=people,{SUFFIX}

dn: cn=staff,{SUFFIX}
objectClass: groupOfNames
cn: staff
member: cn=sales,{SUFFIX}
"""


def find(cache):
    """The directory that slapd's files are under, such as `/`; unpacked into `cache` unless the system has it. None where
    neither can be done."""
    if shutil.which("slapd") or pathlib.Path("/usr/sbin/slapd").exists():
        return pathlib.Path("/")
    unpacked = pathlib.Path(cache, "slapd")
    if not (unpacked / "usr/sbin/slapd").exists():
        if not shutil.which("apt-get"):
            return None
        downloads = unpacked / "downloads"
        shutil.rmtree(unpacked, ignore_errors=True)
        downloads.mkdir(parents=True)
        # A fresh machine has no lists; one that has may not be allowed to fetch others.
        subprocess.run(("apt-get", "update", "-qq"), capture_output=True)
        # As whoever runs this, since the sandbox of apt may not write here.
        fetch = ("apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", *PACKAGES)
        done = subprocess.run(fetch, cwd=downloads, capture_output=True, text=True)
        if done.returncode:
            print(f"no slapd: {done.stderr.strip()}")
            return None
        for package in downloads.glob("*.deb"):
            subprocess.run(("dpkg-deb", "-x", package, unpacked), check=True)
    return unpacked


class Directory:
    """A running slapd. `ldap` and `ldaps` are its addresses; its certificate is that of `identity`, signed by `ca`."""

    def __init__(self, root, scratch, ca, identity):
        cert, key = identity
        data = pathlib.Path(scratch, "slapd")
        data.mkdir()
        config = pathlib.Path(scratch, "slapd.conf")
        schema = root / "etc/ldap/schema"
        config.write_text(
            "\n".join(
                (
                    *(f"include {schema}/{name}.schema" for name in ("core", "cosine", "inetorgperson")),
                    f"modulepath {root}/usr/lib/ldap",
                    "moduleload back_mdb",
                    f"TLSCACertificateFile {ca}",
                    f"TLSCertificateFile {cert}",
                    f"TLSCertificateKeyFile {key}",
                    "database mdb",
                    f"suffix {SUFFIX}",
                    f"directory {data}",
                    # Nobody but the reader may look around.
                    "access to attrs=userPassword by anonymous auth by * none",
                    f'access to * by dn.exact="{READER}" read by * none',
                    "",
                )
            )
        )
        libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
        self._environment = os.environ | {"LD_LIBRARY_PATH": libraries}
        program = root / "usr/sbin/slapd"
        entries = pathlib.Path(scratch, "entries.ldif")
        entries.write_text(ENTRIES)
        add = (program, "-T", "add", "-f", config, "-l", entries)
        done = subprocess.run(add, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"slapd does not take the entries: {done.stderr}")
        ports = _free_ports(2)
        self.ldap, self.ldaps = (f"{scheme}://localhost:{port}" for scheme, port in zip(("ldap", "ldaps"), ports))
        addresses = f"ldap://127.0.0.1:{ports[0]} ldaps://127.0.0.1:{ports[1]}"
        self._command = (program, "-f", config, "-h", addresses, "-d", "0")
        self._port = ports[0]
        self._process = None
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"slapd does not listen: {self._process.poll()}")

    def stop(self):
        self._process.kill()
        self._process.wait()


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
