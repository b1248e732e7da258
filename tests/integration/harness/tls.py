"""Certificates of our own: authorities, and servers that one of them vouches for."""
import subprocess


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL)


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate, self.key = folder / f"{name}.crt", folder / f"{name}.key"
        _openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def certify(self, host, home):
        """Settings of a server that is that host, with files that its user can read."""
        key, request, certificate = (self.folder / f"{host}-{self.name}.{kind}" for kind in ("key", "csr", "crt"))
        names = self.folder / f"{host}.cnf"
        names.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl("req", *KEY, "-subj", f"/CN={host}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                 "-extfile", names, "-out", certificate)
        key.chmod(0o600)
        home.own(key)
        return {"ssl": "on", "ssl_cert_file": certificate, "ssl_key_file": key}
