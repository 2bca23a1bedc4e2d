"""What a failure of TLS means, in words that say what to do. Pure; must never show a key."""

import ssl
from typing import Final

# OpenSSL's codes of what is wrong with a certificate (X509_V_ERR_*).
_EXPIRED: Final = 10
_NOT_YET: Final = 9
_UNTRUSTED: Final = frozenset({18, 19, 20, 21})
_OTHER_NAME: Final = frozenset({62, 64})
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it wants a certificate of the client; set "
    "ssl.certificate.location and ssl.key.location",
    "BAD_CERTIFICATE": "it does not accept the client's certificate "
    "(ssl.certificate.location), or wants one and got none",
    "UNKNOWN_CA": "it does not trust who signed the client's certificate "
    "(ssl.certificate.location)",
    "CERTIFICATE_UNKNOWN": "it does not trust the client's certificate (ssl.certificate.location)",
    "CERTIFICATE_EXPIRED": "the client's certificate is out of date (ssl.certificate.location)",
    "HANDSHAKE_FAILURE": "no common way to encrypt, or it wants a certificate of the client "
    "(ssl.certificate.location)",
    "PROTOCOL_VERSION": "it speaks no version of TLS that this side takes",
}
# How a peer that speaks TLS begins its answer to one that does not: an alert, of some version 3.x.
TLS_ALERT: Final = b"\x15\x03"
NO_TLS: Final = "it does not speak TLS; is that a listener for security.protocol PLAINTEXT?"


def tls_words(error: ssl.SSLError) -> str:
    """The reason of a failed handshake, or of a connection that was ended by an alert."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {_certificate_words(error)}"
    reason = (error.reason or "").upper()
    for alert, words in _ALERTS.items():
        if alert in reason:
            return words
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return NO_TLS
    if isinstance(error, ssl.SSLEOFError) or "EOF" in reason:
        return f"it ended the connection amid the TLS handshake; {NO_TLS}"
    return f"TLS failed: {error.reason or error.strerror or error}"


def _certificate_words(error: ssl.SSLCertVerificationError) -> str:
    said = str(error.verify_message).rstrip(".")
    if error.verify_code in _UNTRUSTED:
        return f"{said}; name who signed it with ssl.ca.location"
    if error.verify_code in _OTHER_NAME:
        return (
            f"{said}; connect by a name that it was made for (the brokers' advertised.listeners "
            "count, too)"
        )
    if error.verify_code == _EXPIRED:
        return f"{said}; the broker needs a new one"
    if error.verify_code == _NOT_YET:
        return f"{said}; is the clock of this machine right?"
    return said
