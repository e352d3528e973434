"""Certificates for a test run, made with the openssl command: an authority, a server, clients, and a stranger's authority."""

import os
import subprocess

OPENSSL_CNF = """[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[server]
subjectAltName = DNS:localhost,IP:127.0.0.1
[elsewhere]
subjectAltName = DNS:elsewhere.example
[client]
extendedKeyUsage = clientAuth
"""


class Certs:
    """path("ca.crt"), "stranger.crt": authorities; "server", "elsewhere" (another host's name), "client" signed by ca, "forged"
    by the stranger: .crt and .key each."""

    def __init__(self, space):
        self.home = space.folder("certs")
        with open(self.path("cnf"), "w") as out:
            out.write(OPENSSL_CNF)
        for name in ("ca", "stranger"):
            self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                          "-subj", "/CN=" + name, "-config", self.path("cnf"), "-extensions", "ca",
                          "-keyout", self.path(name + ".key"), "-out", self.path(name + ".crt"))
        self._sign("server", "localhost", "ca", "server")
        self._sign("elsewhere", "elsewhere.example", "ca", "elsewhere")
        self._sign("client", "app", "ca", "client")
        self._sign("forged", "app", "stranger", "client")
        for name in os.listdir(self.home):
            os.chmod(space.own(self.path(name)), 0o600)

    def path(self, name):
        return os.path.join(self.home, name)

    def _openssl(self, *args):
        subprocess.run(("openssl",) + args, check=True, cwd=self.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _sign(self, name, common_name, authority, extensions):
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + common_name,
                      "-config", self.path("cnf"), "-keyout", self.path(name + ".key"), "-out", self.path(name + ".csr"))
        self._openssl("x509", "-req", "-days", "2", "-in", self.path(name + ".csr"), "-CA", self.path(authority + ".crt"),
                      "-CAkey", self.path(authority + ".key"), "-CAcreateserial", "-extfile", self.path("cnf"),
                      "-extensions", extensions, "-out", self.path(name + ".crt"))
