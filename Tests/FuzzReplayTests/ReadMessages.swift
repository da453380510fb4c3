import Attestation
import Crypto
import Foundation
import HTTPTypes
import HomomorphicEncryption
import NIOCore
import Observability
import ServiceKit

/// The first byte of an input names the type of the body that follows.
func readRequest(_ bytes: [UInt8]) {
    let body = Array(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "e"): check(EncryptRequest.self, body)
    case UInt8(ascii: "p"): check(PredictRequest.self, body)
    case UInt8(ascii: "r"):
        guard let request = check(RegisterRequest.self, body), let asked = request.parameters else { return }
        // What the gateway makes of them.
        _ = try? EncryptionParameters(
            scheme: .ckks, logN: asked.logN, q: asked.q, p: asked.p, alpha: asked.alpha, t: asked.t ?? 0)
    default: break
    }
}

func readAnswer(_ bytes: [UInt8]) {
    let body = Array(bytes.dropFirst())
    switch bytes.first {
    case UInt8(ascii: "a"): check(KeySetInfo.self, body)
    case UInt8(ascii: "b"): check(KeySetList.self, body)
    case UInt8(ascii: "c"): check(EvaluationKeyList.self, body)
    case UInt8(ascii: "d"): check(DestroyResponse.self, body)
    case UInt8(ascii: "e"): check(EncryptResponse.self, body)
    case UInt8(ascii: "f"): check(DecryptResponse.self, body)
    case UInt8(ascii: "g"): check(ModelList.self, body)
    case UInt8(ascii: "h"): check(PredictResponse.self, body)
    case UInt8(ascii: "i"): check(JobList.self, body)
    case UInt8(ascii: "j"): check(UnitModelList.self, body)
    case UInt8(ascii: "k"): check(UnitKeyStatus.self, body)
    case UInt8(ascii: "l"):
        guard let list = check(CircuitList.self, body) else { return }
        for circuit in list.circuits where circuit.records < 1 << 16 {
            _ = circuit.values(of: [[1, 2, 3], [4, 5, 6]], records: 4)
        }
    default: break
    }
}

@discardableResult
private func check<Body: Codable>(_: Body.Type, _ bytes: [UInt8]) -> Body? {
    guard let body = try? APIJSON.decode(Body.self, from: bytes) else { return nil }
    _ = try? APIJSON.encode(body)
    return body
}

func readAuthorization(_ bytes: [UInt8]) {
    let value = String(decoding: bytes, as: UTF8.self)
    guard let token = BearerToken(fieldValue: value) else { return }
    precondition(Array(token.text.utf8) == Array(value.utf8.dropFirst(7)), "every byte counts")
    guard KnownToken.file.authenticate(bearer: token.text) != nil else { return }
    precondition(Array(token.text.utf8) == Array(KnownToken.text.utf8), "one token has one form")
}

enum KnownToken {
    static let text = StaticTokenFile.tokenPrefix + String(repeating: "A", count: 43)
    static let file: StaticTokenFile = {
        do {
            let digest = StaticTokenFile.tokenSHA256(text)
            return try StaticTokenFile(
                text: "tokens: [{subject: alice, tokenSHA256: \(digest)}]", name: "tokens.yaml")
        } catch { fatalError("\(error)") }
    }()
}

func readOctetBundle(_ bytes: [UInt8]) {
    let strings = try? OctetBundle.decode(bytes, maximumCount: 100, maximumBytes: 2000)
    // The buffer's readable part does not begin where its storage does.
    var buffer = ByteBuffer(bytes: [0xFF] + bytes)
    buffer.moveReaderIndex(forwardBy: 1)
    let slices = try? OctetBundle.decode(buffer, maximumCount: 100, maximumBytes: 2000)
    precondition(strings == slices.map { $0.map { Array($0.readableBytesView) } }, "both readers agree")
    if let strings { precondition(OctetBundle.encode(strings) == bytes, "one sequence has one form") }
}

func readProblem(_ bytes: [UInt8]) {
    let problem = Problem(decoding: bytes, status: 500)
    precondition(problem.status == 500)
    _ = problem.encoded()
    _ = problem.description
}

func readServerTiming(_ bytes: [UInt8]) {
    let read = ServerTiming(fieldValue: String(decoding: bytes, as: UTF8.self))
    let again = ServerTiming(fieldValue: read.fieldValue)
    precondition(again.entries.map(\.name) == read.entries.map(\.name), "what is written is read")
    precondition(again.fieldValue == read.fieldValue, "and written again")
}

/// Lines of an input: traceparent, tracestate.
func readTraceContext(_ bytes: [UInt8]) {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1, omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
    if let trace = lines.first.flatMap({ TraceContext(traceparent: $0) }) {
        precondition(TraceContext(traceparent: trace.traceparent) == trace, "what is written is read")
    }
    if lines.count == 2, let state = TraceState(lines[1]) {
        precondition(state.text.utf8.count <= TraceState.maximumBytes, "no more is passed on")
        precondition(TraceState(state.text)?.text == state.text, "what is written is read")
    }
}

/// Lines of an input: Signature-Input, Signature, Content-Digest, and the request's target.
func readRequestSignature(_ bytes: [UInt8]) {
    let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 3, omittingEmptySubsequences: false)
        .map { String(decoding: $0, as: UTF8.self) }
    func line(_ index: Int) -> String { lines.indices.contains(index) ? lines[index] : "" }
    var headers = HTTPFields()
    headers[.signatureInput] = line(0)
    headers[.signature] = line(1)
    headers[.contentDigest] = line(2)
    let verifier = HTTPMessageSignatureVerifier(
        publicKeys: [SignedRequests.keyID: SignedRequests.key.publicKey], nonces: NonceCache(capacity: 4))
    let request = RequestComponents(method: .post, target: line(3))
    _ = try? verifier.verify(
        request, headers: headers, body: ContentDigest(of: SignedRequests.body), now: SignedRequests.date)
    if let digest = try? ContentDigest(fieldValue: line(2)) {
        precondition(digest.fieldValue == line(2), "one digest has one form")
    }
}

enum SignedRequests {
    static let date = Date(timeIntervalSince1970: 1_767_323_045)
    static let body = Array("body".utf8)
    static let keyID = "ed25519:00000000000000000000000000000000"
    static let key: Curve25519.Signing.PrivateKey = {
        do {
            return try Curve25519.Signing.PrivateKey(rawRepresentation: [UInt8](repeating: 7, count: 32))
        } catch { fatalError("\(error)") }
    }()
}
