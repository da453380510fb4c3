import AsyncHTTPClient
import Foundation
import KeyManagement
import NIOCore
import SecretMemory
import TestSupport
import TrustedKMSOpenBao

/// The real OpenBao that scripts/test starts, and its administration.
struct OpenBaoTestServer {
    let address: String
    let token: String

    init() throws {
        address = try Self.variable("HKMS_TEST_OPENBAO_ADDRESS")
        token = try Self.variable("HKMS_TEST_OPENBAO_TOKEN")
    }

    static var tlsAddress: String { get throws { try variable("HKMS_TEST_OPENBAO_TLS_ADDRESS") } }
    static var tls12Address: String { get throws { try variable("HKMS_TEST_OPENBAO_TLS12_ADDRESS") } }
    static var ca: String { get throws { try variable("HKMS_TEST_OPENBAO_CA") } }

    static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else {
            throw ConformanceFailure(
                "\(name) is not set: these tests need a real OpenBao. Run them with scripts/test, which starts one")
        }
        return value
    }

    static func token(_ text: String) throws -> OpenBaoToken {
        try OpenBaoToken(copying: SecretBytes(copying: text.utf8))
    }

    // MARK: Administration

    /// One call as root; the answer's JSON, empty for none.
    @discardableResult
    func administer(
        _ method: String, _ path: String, _ body: [String: any Sendable] = [:], namespace: String? = nil,
        headers: [String: String] = [:]
    ) async throws -> [String: Any] {
        try await call(method, path, body, token: token, namespace: namespace, headers: headers)
    }

    /// The same with another token.
    func call(
        _ method: String, _ path: String, _ body: [String: any Sendable] = [:], token: String,
        namespace: String? = nil, headers: [String: String] = [:]
    ) async throws -> [String: Any] {
        let (status, bytes) = try await request(method, path, body, token: token, namespace: namespace, headers)
        guard (200..<300).contains(status) else {
            throw ConformanceFailure("\(method) \(path): \(status) \(String(buffer: bytes))")
        }
        guard bytes.readableBytes > 0 else { return [:] }
        return try JSONSerialization.jsonObject(with: Data(bytes.readableBytesView)) as? [String: Any] ?? [:]
    }

    /// What a call with another token is answered.
    func status(
        _ method: String, _ path: String, _ body: [String: any Sendable] = [:], token: String
    ) async throws -> Int {
        try await request(method, path, body, token: token, namespace: nil, [:]).0
    }

    private func request(
        _ method: String, _ path: String, _ body: [String: any Sendable], token: String, namespace: String?,
        _ headers: [String: String]
    ) async throws -> (Int, ByteBuffer) {
        var request = HTTPClientRequest(url: "\(address)/v1/\(path)")
        request.method = .RAW(value: method)
        request.headers.add(name: "X-Vault-Token", value: token)
        if let namespace { request.headers.add(name: "X-Vault-Namespace", value: namespace) }
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if method != "GET" {
            request.body = .bytes(ByteBuffer(bytes: try JSONSerialization.data(withJSONObject: body)))
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
        return (Int(response.status.code), try await response.body.collect(upTo: 1 << 20))
    }

    /// One of docs/kms/policies as it stands, with other names in the place of its own.
    /// - Returns: the policy's name.
    func load(_ policy: String, replacing names: [String: String]) async throws -> String {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../docs/kms/policies/\(policy).hcl")
        var text = try String(contentsOf: file, encoding: .utf8)
        for (name, replacement) in names {
            guard text.contains(name) else { throw ConformanceFailure("\(policy).hcl does not name \(name)") }
            text = text.replacingOccurrences(of: name, with: replacement)
        }
        let name = "\(policy)-\(UInt32.random(in: .min ... .max))"
        try await administer("PUT", "sys/policies/acl/\(name)", ["policy": text])
        return name
    }

    /// The policy of a gateway for one key.
    func leastPolicy(for key: KMSKeyName) async throws -> String {
        try await load("gateway", replacing: ["hkms-seeds": key.value])
    }

    /// A token of a policy alone.
    func createToken(policy: String, settings: [String: any Sendable] = [:]) async throws -> String {
        let body: [String: any Sendable] = ["policies": [policy], "no_parent": true, "no_default_policy": true]
        let answer = try await administer("POST", "auth/token/create", body.merging(settings) { $1 })
        guard let auth = answer["auth"] as? [String: Any], let token = auth["client_token"] as? String else {
            throw ConformanceFailure("no token: \(answer)")
        }
        return token
    }

    /// An AppRole of its own at a mount of its own.
    func createAppRole(policy: String, settings: [String: any Sendable] = [:]) async throws -> AppRole {
        let mount = "approle-\(UInt32.random(in: .min ... .max))"
        try await administer("POST", "sys/auth/\(mount)", ["type": "approle"])
        let body: [String: any Sendable] = ["token_policies": [policy], "token_no_default_policy": true]
        try await administer("POST", "auth/\(mount)/role/hkms", body.merging(settings) { $1 })
        let role = try await administer("GET", "auth/\(mount)/role/hkms/role-id")["data"] as? [String: Any]
        let secret = try await administer("POST", "auth/\(mount)/role/hkms/secret-id")["data"] as? [String: Any]
        guard let roleID = role?["role_id"] as? String, let secretID = secret?["secret_id"] as? String else {
            throw ConformanceFailure("no AppRole")
        }
        let folder = try TemporaryFolder()
        let file = try folder.write(secretID + "\n", to: "secret-id")
        return AppRole(server: self, mount: mount, roleID: roleID, secretIDFile: file, folder: folder)
    }

    struct AppRole {
        let server: OpenBaoTestServer
        let mount: String
        let roleID: String
        let secretIDFile: String
        let folder: TemporaryFolder

        var authentication: OpenBaoAuthentication {
            .appRole(roleID: roleID, secretIDFile: secretIDFile, mount: mount)
        }

        /// Every token that this AppRole gave out stops working.
        func revokeTokens() async throws {
            try await server.administer("PUT", "sys/leases/revoke-prefix/auth/\(mount)/login")
        }

        /// How many of its tokens live.
        func tokenCount() async throws -> Int {
            let answer = try await server.administer("LIST", "sys/leases/lookup/auth/\(mount)/login")
            return ((answer["data"] as? [String: Any])?["keys"] as? [String])?.count ?? 0
        }
    }

    // MARK: Adapters

    var rootAuthentication: OpenBaoAuthentication { get throws { .token(try Self.token(token)) } }

    /// Runs `body` with an adapter and shuts it down whatever happens.
    func withKMS<Result>(
        _ authentication: OpenBaoAuthentication? = nil, address: String? = nil, mount: String = "transit",
        namespace: String? = nil, delegation: OpenBaoDelegation? = nil, ca: String? = nil,
        requestTimeout: Duration = .seconds(10), retryTime: Duration = .zero,
        _ body: (OpenBaoKMS) async throws -> Result
    ) async throws -> Result {
        let configuration = try OpenBaoConfiguration(
            address: address ?? self.address, mount: mount, namespace: namespace,
            authentication: authentication ?? rootAuthentication, delegation: delegation, caCertificateFile: ca,
            requestTimeout: requestTimeout, retryTime: retryTime)
        let kms = try OpenBaoKMS(configuration)
        do {
            let result = try await body(kms)
            await kms.shutdown()
            return result
        } catch {
            await kms.shutdown()
            throw error
        }
    }
}
