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

    func connect() async throws -> any TrustedKMS { try connect(server.rootAuthentication) }

    private func connect(
        _ authentication: OpenBaoAuthentication, address: String? = nil, authority: String? = nil,
        requestTimeout: Duration = .seconds(10)
    ) throws -> OpenBaoKMS {
        try OpenBaoKMS(
            try OpenBaoConfiguration(
                address: address ?? self.address, authentication: authentication,
                caCertificateFile: authority ?? self.authority, requestTimeout: requestTimeout))
    }

    var credentials: [[UInt8]] { [Array(server.token.utf8)] }

    var keySwitch: Power<KeySwitch> {
        .hasNot(reason: "Transit has no switch for a key; its soft deletion is the case of scheduled deletion.")
    }

    var scheduledDeletion: Power<ScheduledDeletion> { .hasNot(reason: "not written yet") }
    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> {
        .hasNot(reason: "not written yet")
    }
    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> {
        .hasNot(reason: "not written yet")
    }
    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .hasNot(reason: "not written yet")
    }
    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> {
        .hasNot(reason: "not written yet")
    }
    var network: Power<NetworkPath> { .hasNot(reason: "not written yet") }
    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> { .hasNot(reason: "not written yet") }
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> { .hasNot(reason: "not written yet") }
}
