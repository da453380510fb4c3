import Foundation
import KeyManagement
import TrustedKMSOpenBao

/// The real OpenBao that scripts/test starts, with the root token.
struct OpenBaoSubject: ConformanceSubject {
    private let server: OpenBaoTestServer
    private let address: String
    private let authority: String?

    init(overTLS: Bool = false) throws {
        server = try OpenBaoTestServer()
        address = overTLS ? try OpenBaoTestServer.tlsAddress : server.address
        authority = overTLS ? try OpenBaoTestServer.ca : nil
    }

    func connect() async throws -> any TrustedKMS { try adapter(server.rootAuthentication) }

    private func adapter(
        _ authentication: OpenBaoAuthentication, port: Int? = nil, mount: String = "transit",
        requestTimeout: Duration = .seconds(10)
    ) throws -> OpenBaoKMS {
        let address =
            if let port { address.split(separator: ":").dropLast().joined(separator: ":") + ":\(port)" } else {
                self.address
            }
        return try OpenBaoKMS(
            try OpenBaoConfiguration(
                address: address, mount: mount, authentication: authentication, caCertificateFile: authority,
                requestTimeout: requestTimeout, retryTime: .zero))
    }

    var credentials: [[UInt8]] { [Array(server.token.utf8)] }

    // MARK: Keys

    var keySwitch: Power<KeySwitch> {
        .hasNot(reason: "Transit has no switch for a key; its soft deletion is the case of scheduled deletion.")
    }

    var scheduledDeletion: Power<ScheduledDeletion> {
        .has(
            ScheduledDeletion(
                schedule: { try await server.administer("DELETE", "transit/keys/\($0)/soft-delete") },
                cancel: { try await server.administer("POST", "transit/keys/\($0)/soft-delete-restore") }))
    }

    // MARK: Credentials

    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> {
        .has { key in
            let role = try await server.createAppRole(policy: server.leastPolicy(for: key))
            return KeepingKMS(try adapter(role.authentication), role.folder)
        }
    }

    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> {
        .has {
            let token = try await server.createToken(
                policy: try await server.transitPolicy(), settings: ["ttl": "10s", "renewable": false])
            return ExpiringConnection(
                kms: try adapter(.token(try OpenBaoTestServer.token(token))), lifetime: .seconds(11))
        }
    }

    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .has {
            let token = try await server.createToken(policy: try await server.transitPolicy())
            return RevocableConnection(kms: try adapter(.token(try OpenBaoTestServer.token(token)))) {
                try await server.administer("POST", "auth/token/revoke", ["token": token])
            }
        }
    }

    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .has {
            let role = try await server.createAppRole(policy: try await server.transitPolicy())
            return RevocableConnection(kms: KeepingKMS(try adapter(role.authentication), role.folder)) {
                try await role.revokeTokens()
            }
        }
    }

    // MARK: Network

    var network: Power<NetworkPath> {
        guard let port = address.split(separator: ":").last.flatMap({ Int($0) }) else {
            return .hasNot(reason: "The server's address has no port.")
        }
        return .has(
            NetworkPath(port: port, isPlainHTTP: authority == nil) {
                try adapter(server.rootAuthentication, port: $0, requestTimeout: .seconds(3))
            })
    }

    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> {
        guard authority != nil else {
            return .hasNot(reason: "HTTP in the clear, which the adapter speaks to loopback addresses alone.")
        }
        return .has {
            try OpenBaoKMS(
                try OpenBaoConfiguration(address: address, authentication: server.rootAuthentication))
        }
    }

    /// A rate limit for a mount of its own, so that nobody else is throttled.
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> {
        .has {
            let mount = "throttled-\(UInt32.random(in: .min ... .max))"
            try await server.administer("POST", "sys/mounts/\(mount)", ["type": "transit"])
            try await server.administer(
                "POST", "sys/quotas/config", ["enable_rate_limit_response_headers": true])
            return ThrottledConnection(
                kms: try adapter(server.rootAuthentication, mount: mount, requestTimeout: .seconds(2)),
                tellsWhen: true,
                begin: {
                    try await server.administer(
                        "POST", "sys/quotas/rate-limit/\(mount)", ["path": mount, "rate": 1, "interval": "60s"])
                },
                end: { try await server.administer("DELETE", "sys/quotas/rate-limit/\(mount)") })
        }
    }
}

extension OpenBaoTestServer {
    /// Everything under Transit.
    func transitPolicy() async throws -> String {
        let policy = #"path "transit/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#
        try await administer("PUT", "sys/policies/acl/conformance", ["policy": policy])
        return "conformance"
    }
}

/// An adapter and what must live as long as it.
struct KeepingKMS: ForwardingKMS {
    let inner: any TrustedKMS
    private let kept: any Sendable

    init(_ inner: any TrustedKMS, _ kept: any Sendable) {
        self.inner = inner
        self.kept = kept
    }
}
