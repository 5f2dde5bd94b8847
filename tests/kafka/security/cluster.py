"""A secured broker with one listener for each kind of authentication; ACLs grant all rights."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from stream_app.broker import EmbeddedBroker
from stream_app.broker.node import HOST, free_port
from stream_app.kafka.acl import AclRule, grant_acls
from stream_app.settings import KafkaSettings, SaslMechanism
from tests.kafka.security.authority import LOOPBACK, Authority, Identity
from tests.patience import PATIENCE

PASSWORD = "correct-horse-Battery7"
"""Password of every user; tests verify that it appears nowhere."""

LISTENERS = {
    # For the broker itself and for preparations: every client is a super user.
    "INSIDE": "PLAINTEXT",
    # PLAIN, SCRAM and OAUTHBEARER.
    "CLIENT": "SASL_SSL",
    # Clients present a certificate.
    "MTLS": "SSL",
    # The broker's certificate has expired.
    "EXPIRED": "SASL_SSL",
    # The broker's certificate names another host.
    "ELSEWHERE": "SASL_SSL",
    # OAUTHBEARER without encryption.
    "OPEN": "SASL_PLAINTEXT",
}


class SecuredCluster:
    """The broker, its certificates and its users."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.authority = Authority(folder)
        self._ports = {name: free_port() for name in (*LISTENERS, "CONTROLLER")}
        self.broker = EmbeddedBroker(
            folder / "kafka", port=self._ports["CLIENT"], properties=self._properties(), owned=True
        )
        self.broker.start()
        self.admin = AdminClient({"bootstrap.servers": self.address("INSIDE"), "log_level": 0})

    def address(self, listener: str) -> str:
        """Return `host:port` of a listener."""
        return f"{HOST}:{self._ports[listener]}"

    def add_user(
        self, name: str, password: str = PASSWORD, mechanism: SaslMechanism = "SCRAM-SHA-512"
    ) -> None:
        """Create a SCRAM user, or change the password."""
        info = ScramCredentialInfo(getattr(ScramMechanism, mechanism.replace("-", "_")), 4096)
        upsertion = UserScramCredentialUpsertion(name, info, password.encode())
        self.admin.alter_user_scram_credentials([upsertion])[name].result(60)

    def user(self, granted: Sequence[AclRule] = ()) -> KafkaSettings:
        """Create a SCRAM user with only these rules; return the settings to connect."""
        name = f"user-{uuid4().hex[:8]}"
        self.add_user(name)
        if granted:
            self.grant(f"User:{name}", granted)
        return self.settings("CLIENT", username=name, password=PASSWORD)

    def revoke(self, principal: str, operation: str, resource: str, name: str) -> None:
        """Delete one ACL."""
        deleted = self.admin.delete_acls(
            [
                AclBindingFilter(
                    ResourceType[resource.upper()],
                    name,
                    ResourcePatternType.LITERAL,
                    principal,
                    None,
                    AclOperation[operation.upper()],
                    AclPermissionType.ANY,
                )
            ]
        )
        for future in deleted.values():
            assert len(future.result(60)) == 1

    def grant(self, principal: str, rules: Sequence[AclRule]) -> None:
        """Grant rules, and wait until the broker applies them: it does so after it has replied."""
        grant_acls(self.admin, principal, rules)
        granted = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            principal,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        wanted = {(rule.operation, rule.resource, rule.name) for rule in rules}
        deadline = time.monotonic() + 30 * PATIENCE
        while wanted - {
            (acl.operation.name.lower(), acl.restype.name.lower(), acl.name)
            for acl in self.admin.describe_acls(granted).result(60)
        }:
            assert time.monotonic() < deadline, "the broker does not apply the rules"
            time.sleep(0.05)

    def settings(self, listener: str, **changes: Any) -> KafkaSettings:
        """Return the settings of a client, which trusts the authority if the listener uses TLS."""
        protocol = LISTENERS[listener]
        given: dict[str, Any] = (
            {"ca_file": self.authority.ca_file} if protocol.endswith("SSL") else {}
        )
        given |= {
            "bootstrap_servers": self.address(listener),
            "security_protocol": protocol.lower(),
            **changes,
        }
        return KafkaSettings(**given)

    def _properties(self) -> dict[str, str]:
        protocols = LISTENERS | {"CONTROLLER": "PLAINTEXT"}
        server = self.authority.issue("broker", hosts=LOOPBACK)
        mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
        sasl = "org.apache.kafka.common.security"
        jaas = {
            "plain": f'{sasl}.plain.PlainLoginModule required user_ann="{PASSWORD}";',
            "scram-sha-256": f"{sasl}.scram.ScramLoginModule required;",
            "scram-sha-512": f"{sasl}.scram.ScramLoginModule required;",
            "oauthbearer": f"{sasl}.oauthbearer.OAuthBearerLoginModule required;",
        }
        return {
            "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in self._ports.items()),
            "advertised.listeners": ",".join(
                f"{name}://{self.address(name)}" for name in LISTENERS
            ),
            "controller.quorum.bootstrap.servers": self.address("CONTROLLER"),
            "inter.broker.listener.name": "INSIDE",
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "sasl.enabled.mechanisms": mechanisms,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "auto.create.topics.enable": "true",  # as on most clusters
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca_file),
            "listener.name.mtls.ssl.client.auth": "required",
            **_keystore("", server),
            **_keystore(
                "listener.name.expired.", self.authority.issue("late", hosts=LOOPBACK, expired=True)
            ),
            **_keystore(
                "listener.name.elsewhere.", self.authority.issue("other", hosts=["kafka.example"])
            ),
            **{
                f"listener.name.{name.lower()}.{mechanism}.sasl.jaas.config": login
                for name, protocol in LISTENERS.items()
                if protocol.startswith("SASL")
                for mechanism, login in jaas.items()
            },
            # Open connections end with their token.
            "listener.name.open.oauthbearer.connections.max.reauth.ms": "3600000",
        }


def _keystore(prefix: str, identity: Identity) -> dict[str, str]:
    file = identity.key.with_suffix(".keystore.pem")
    file.write_bytes(identity.key.read_bytes() + identity.certificate.read_bytes())
    return {f"{prefix}ssl.keystore.type": "PEM", f"{prefix}ssl.keystore.location": str(file)}
