import Crypto
import Foundation
import Hummingbird
import JWTKit
import Logging
import NIOCore
import ServiceKit
import Synchronization

/// An issuer of tokens on loopback, that answers what it is told to.
final class TestIssuer: Sendable {
    struct State {
        /// Entries of the key set, as JSON.
        var keys: [String] = []
        /// What discovery says; nil for the truth.
        var discovery: String?
        var isSilent = false
        var questions = 0
    }

    let state = Mutex(State())
    private let place = Mutex("")
    var url: String { place.withLock { $0 } }

    private init() {}

    /// Serves while `body` runs.
    static func serving(_ body: @Sendable @escaping (TestIssuer) async throws -> Void) async throws {
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let issuer = TestIssuer()
        let application = Application(
            responder: CallbackResponder { (request: Request, _: BasicRequestContext) in
                let (keys, discovery, silent) = issuer.state.withLock { state in
                    state.questions += 1
                    return (state.keys, state.discovery, state.isSilent)
                }
                if silent { return Response(status: .internalServerError) }
                let text =
                    request.uri.path == "/keys"
                    ? "{\"keys\": [\(keys.joined(separator: ", "))]}"
                    : discovery ?? "{\"issuer\": \"\(issuer.url)\", \"jwks_uri\": \"\(issuer.url)/keys\"}"
                return Response(status: .ok, body: .init(byteBuffer: ByteBuffer(string: text)))
            },
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in continuation.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await application.run()
                return false
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                let port = await iterator.next() ?? 0
                issuer.place.withLock { $0 = "http://127.0.0.1:\(port)" }
                try await body(issuer)
                return true
            }
            defer { group.cancelAll() }
            while let done = try await group.next() {
                if done { return }
            }
        }
    }
}

/// A key of an issuer.
struct TestKey: Sendable {
    let id: String
    let key: ES256PrivateKey

    init(_ id: String) {
        self.id = id
        key = ES256PrivateKey()
    }

    /// As an entry of a key set.
    var entry: String {
        let parameters = key.publicKey.parameters
        // Standard base64 in some versions of the library, URL-safe in the format.
        func url(_ text: String) -> String {
            text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }
        return """
            {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "\(id)", \
            "x": "\(url(parameters?.x ?? ""))", "y": "\(url(parameters?.y ?? ""))"}
            """
    }

    /// A token with these claims.
    /// - Parameters:
    ///   - keyID: what the header says; nil for nothing.
    ///   - claims: JSON.
    func token(_ claims: String, keyID: String?, header: [String: JWTHeaderField] = [:]) throws -> String {
        var fields = header
        if let keyID { fields["kid"] = .string(keyID) }
        let headerJSON = try JSONEncoder().encode(
            JWTHeader(fields: fields.merging(["alg": .string("ES256"), "typ": .string("JWT")]) { old, _ in old }))
        let signed = Base64URL.encode(Array(headerJSON)) + "." + Base64URL.encode(Array(claims.utf8))
        return signed + "." + Base64URL.encode(try key.sign(signed))
    }
}

extension ES256PrivateKey {
    /// The two halves of a signature (RFC 7518 section 3.4).
    fileprivate func sign(_ text: String) throws -> [UInt8] {
        let signing = try P256.Signing.PrivateKey(pemRepresentation: pemRepresentation)
        return Array(try signing.signature(for: Data(text.utf8)).rawRepresentation)
    }
}
