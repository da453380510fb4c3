import Crypto
import Foundation
import HTTPTypes
import NIOCore
import ServiceKit
import Testing

@Suite struct HTTPMessageSignatureTests {
    private static let now = Date(timeIntervalSince1970: 1_700_000_000)
    private static let body = Array(#"{"hello": "world"}"#.utf8)
    private static let request = RequestComponents(method: "POST", path: "/v1/jobs", query: "a=1&b=%20")

    /// The key test-key-ed25519 of RFC 9421, appendix B.1.4.
    private let key: Curve25519.Signing.PrivateKey
    private let verifier: HTTPMessageSignatureVerifier

    init() throws {
        let pkcs8 = try #require(
            Data(base64Encoded: "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"))
        key = try Curve25519.Signing.PrivateKey(rawRepresentation: pkcs8.suffix(32))
        verifier = HTTPMessageSignatureVerifier(publicKeys: ["gateway-1": key.publicKey], nonces: NonceCache())
    }

    /// RFC 9421, section 2.5, by hand.
    private func base(_ components: [(String, String)], _ parameters: String) -> String {
        components.map { "\"\($0.0)\": \($0.1)\n" }.joined() + "\"@signature-params\": \(parameters)"
    }

    private func sign(_ request: RequestComponents = request, lifetime: Int = 60, now: Date = now) throws -> HTTPFields
    {
        try HTTPMessageSignature.sign(
            request, digest: ContentDigest(of: Self.body), keyID: "gateway-1", privateKey: key, lifetime: lifetime,
            now: now)
    }

    @discardableResult
    private func verify(
        _ fields: HTTPFields, _ request: RequestComponents = request, body: [UInt8] = body, now: Date = now
    ) throws(SignatureError) -> String {
        try verifier.verify(request, headers: fields, body: ContentDigest(of: body), now: now)
    }

    @Test func theHandMadeBaseAgreesWithTheRFC() throws {
        // Appendix B.2.6.
        let parameters =
            #"("date" "@method" "@path" "@authority" "content-type" "content-length")"#
            + #";created=1618884473;keyid="test-key-ed25519""#
        let text = base(
            [
                ("date", "Tue, 20 Apr 2021 02:07:55 GMT"), ("@method", "POST"), ("@path", "/foo"),
                ("@authority", "example.com"), ("content-type", "application/json"), ("content-length", "18"),
            ], parameters)
        let signature = try #require(
            Data(
                base64Encoded:
                    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="))
        #expect(key.publicKey.isValidSignature(signature, for: Data(text.utf8)))
    }

    @Test func verifiesWhatIsSignedByHand() throws {
        let digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"  // RFC 9530, appendix B.1
        let parameters =
            #"("@method" "@path" "@query" "content-digest");created=1700000000;expires=1700000060"#
            + #";nonce="AAECAwQFBgcICQoLDA0ODw";keyid="gateway-1";alg="ed25519";tag="hkms""#
        let text = base(
            [("@method", "POST"), ("@path", "/v1/jobs"), ("@query", "?a=1&b=%20"), ("content-digest", digest)],
            parameters)
        var fields = HTTPFields()
        fields[.signatureInput] = "hkms=\(parameters)"
        fields[.signature] = "hkms=:\(try key.signature(for: Data(text.utf8)).base64EncodedString()):"
        fields[.contentDigest] = digest
        #expect(try verify(fields) == "gateway-1")
    }

    @Test func whatIsSignedIsTheHandMadeBase() throws {
        let fields = try sign()
        let input = try #require(fields[.signatureInput])
        let text = base(
            [
                ("@method", "POST"), ("@path", "/v1/jobs"), ("@query", "?a=1&b=%20"),
                ("content-digest", try #require(fields[.contentDigest])),
            ], String(input.dropFirst("hkms=".count)))
        let field = try #require(fields[.signature])
        let signature = try #require(Data(base64Encoded: String(field.dropFirst(6).dropLast())))
        #expect(key.publicKey.isValidSignature(signature, for: Data(text.utf8)))
        #expect(try verify(fields) == "gateway-1")
        #expect(try sign()[.signatureInput] != input, "every signature has its own nonce")
    }

    @Test func componentsAreNormalized() throws {
        let plain = RequestComponents(method: "GET", path: "", authority: "Example.COM:443")
        #expect(plain.path == "/" && plain.query == "?" && plain.authority == "example.com")
        #expect(RequestComponents(method: .post, target: "/v1/jobs?a=1&b=%20") == Self.request)
        #expect(RequestComponents(method: .get, target: "/a?b?c").query == "?b?c")
        #expect(RequestComponents(method: .get, target: "/a?").query == "?")
    }

    @Test func everyAlteredPartIsNoticed() throws {
        let fields = try sign()
        let altered = [
            RequestComponents(method: "PUT", path: "/v1/jobs", query: "a=1&b=%20"),
            RequestComponents(method: "POST", path: "/v1/job", query: "a=1&b=%20"),
            RequestComponents(method: "POST", path: "/v1/jobs", query: "a=1&b=+"),
            RequestComponents(method: "POST", path: "/v1/jobs"),
        ]
        for request in altered { #expect(throws: SignatureError.badSignature) { try verify(fields, request) } }
        #expect(throws: SignatureError.wrongComponents) {
            try verify(fields, RequestComponents(method: "POST", path: "/v1/jobs", authority: "a"))
        }

        func with(_ name: HTTPField.Name, _ from: String, _ to: String) throws -> HTTPFields {
            var fields = fields
            let value = try #require(fields[name])
            #expect(value.contains(from))
            fields[name] = value.replacingOccurrences(of: from, with: to)
            return fields
        }
        #expect(throws: SignatureError.badSignature) {
            try verify(try with(.signatureInput, "1700000000", "1700000001"))
        }
        #expect(throws: SignatureError.badSignature) {
            try verify(try with(.signatureInput, "1700000060", "1700000061"))
        }
        #expect(throws: SignatureError.badSignature) { try verify(try with(.signatureInput, "nonce=\"", "nonce=\"A")) }
        #expect(throws: SignatureError.unknownKey) { try verify(try with(.signatureInput, "gateway-1", "gateway-2")) }
        #expect(throws: SignatureError.wrongComponents) {
            try verify(try with(.signatureInput, "\"@path\" \"@query\"", "\"@query\" \"@path\""))
        }
        #expect(throws: SignatureError.wrongComponents) {
            try verify(try with(.signatureInput, " \"content-digest\"", ""))
        }
        let inputs = [
            ("ed25519", "rsa-pss-sha512"), ("tag=\"hkms\"", "tag=\"other\""), (";alg=\"ed25519\"", ""),
            ("hkms=(", "sig1=("), (";created", "; created"), ("\"@method\"", "\"@method\";req"),
            (";tag", ";more=1;tag"), ("created=1700000000", "created=-1"), ("expires=1700000060", "expires=1700000000"),
            ("expires=1700000060", "expires=1700001000"), ("tag=\"hkms\"", "tag=hkms"),
        ]
        for (from, to) in inputs {
            let fields = try with(.signatureInput, from, to)
            #expect(throws: SignatureError.malformed("Signature-Input"), "\(to)") {
                do throws(SignatureError) { try verify(fields) } catch {
                    guard case .malformed = error else { throw error }
                    throw SignatureError.malformed("Signature-Input")
                }
            }
        }

        let other = ContentDigest(of: [1, 2, 3])
        var swapped = fields
        swapped[.contentDigest] = other.fieldValue
        #expect(throws: SignatureError.badSignature) { try verify(swapped, body: [1, 2, 3]) }

        let good = try #require(fields[.signature])
        var flipped = fields
        flipped[.signature] = good.replacingOccurrences(
            of: String(good.dropFirst(6).prefix(4)), with: good.dropFirst(6).hasPrefix("AAAA") ? "BBBB" : "AAAA")
        #expect(throws: SignatureError.badSignature) { try verify(flipped) }
        for bad in ["", "hkms=::", "sig1" + good.dropFirst(4), good + ", " + good, good.uppercased(), good + ";a"] {
            flipped[.signature] = bad
            #expect(throws: SignatureError.malformed("Signature")) { try verify(flipped) }
        }

        let stranger = try HTTPMessageSignature.sign(
            Self.request, digest: ContentDigest(of: Self.body), keyID: "gateway-1",
            privateKey: Curve25519.Signing.PrivateKey(), now: Self.now)
        #expect(throws: SignatureError.badSignature) { try verify(stranger) }

        // Nothing of all this used up the nonce.
        #expect(try verify(fields) == "gateway-1")
    }

    @Test func fieldsThatAreMissingOrDoubled() throws {
        for name in [HTTPField.Name.signatureInput, .signature, .contentDigest] {
            var fields = try sign()
            let value = try #require(fields[name])
            fields[name] = nil
            #expect(throws: SignatureError.missingSignature) { try verify(fields) }
            fields.append(HTTPField(name: name, value: value))
            fields.append(HTTPField(name: name, value: value))
            #expect(throws: SignatureError.self) { try verify(fields) }
        }
    }

    @Test func theBodyMustHaveItsDigest() throws {
        #expect(throws: SignatureError.digestMismatch) { try verify(try sign(), body: Self.body + [0x20]) }
        #expect(throws: SignatureError.digestMismatch) { try verify(try sign(), body: []) }
        let head = try verifier.verifyHead(Self.request, headers: try sign(), now: Self.now)
        #expect(head.keyID == "gateway-1")
        var hasher = ContentDigest.Hasher()
        hasher.update(ByteBuffer(bytes: Self.body.prefix(5)))
        hasher.update(Array(Self.body.dropFirst(5)))
        try head.check(body: hasher.finalize())
    }

    @Test func authorityIsCoveredWhereBothUseIt() throws {
        let request = RequestComponents(method: "GET", path: "/", authority: "unit-1:8443")
        let fields = try sign(request)
        #expect(throws: SignatureError.wrongComponents) { try verify(fields, .init(method: "GET", path: "/")) }
        #expect(throws: SignatureError.badSignature) {
            try verify(fields, .init(method: "GET", path: "/", authority: "unit-2:8443"))
        }
        #expect(try verify(fields, request) == "gateway-1")
    }

    @Test func theClockMayDifferByTheSkew() throws {
        func at(_ seconds: Double) throws { try verify(try sign(), now: Self.now.addingTimeInterval(seconds)) }
        try at(-60)
        try at(120)
        #expect(throws: SignatureError.notYetValid) { try at(-60.5) }
        #expect(throws: SignatureError.expired) { try at(120.5) }
        let strict = HTTPMessageSignatureVerifier(
            publicKeys: ["gateway-1": key.publicKey], clockSkew: 0, acceptedFrom: Self.now, nonces: NonceCache())
        let digest = ContentDigest(of: Self.body)
        #expect(throws: SignatureError.notYetValid) {
            try strict.verify(Self.request, headers: try sign(now: Self.now + 1), body: digest, now: Self.now)
        }
        #expect(throws: SignatureError.expired) {
            try strict.verify(Self.request, headers: try sign(now: Self.now - 1), body: digest, now: Self.now)
        }
        #expect(try strict.verify(Self.request, headers: try sign(), body: digest, now: Self.now) == "gateway-1")
    }

    @Test func replaysAreRefusedAsLongAsTheyWouldBeAccepted() throws {
        let fields = try sign()
        try verify(fields)
        for seconds in [0, 1, 60, 119, 120] {
            #expect(throws: SignatureError.replayed) { try verify(fields, now: Self.now + Double(seconds)) }
        }
        #expect(throws: SignatureError.expired) { try verify(fields, now: Self.now + 121) }
        // Another request makes the cache forget, and the clock goes back.
        try verify(try sign(now: Self.now + 500), now: Self.now + 500)
        #expect(throws: SignatureError.expired) { try verify(fields) }
    }

    @Test func aFullCacheRefusesUntilEntriesExpire() throws {
        let nonces = NonceCache(capacity: 2)
        let verifier = HTTPMessageSignatureVerifier(publicKeys: ["gateway-1": key.publicKey], nonces: nonces)
        func verify(_ fields: HTTPFields, _ seconds: Double) throws {
            _ = try verifier.verifyHead(Self.request, headers: fields, now: Self.now + seconds)
        }
        let first = try sign()
        try verify(first, 0)
        try verify(try sign(now: Self.now + 10), 10)
        #expect(throws: SignatureError.nonceCacheFull) { try verify(try sign(now: Self.now + 20), 20) }
        #expect(throws: SignatureError.replayed) { try verify(first, 20) }
        #expect(nonces.count == 2)
        try verify(try sign(now: Self.now + 121), 121)
        #expect(nonces.count == 2)
    }

    @Test func signingChecksItsArguments() {
        let digest = ContentDigest(of: [])
        func sign(_ request: RequestComponents, keyID: String = "k", lifetime: Int = 60, now: Date = Self.now) throws {
            _ = try HTTPMessageSignature.sign(
                request, digest: digest, keyID: keyID, privateKey: key, lifetime: lifetime, now: now)
        }
        let good = RequestComponents(method: "GET", path: "/")
        #expect(throws: SignatureError.malformed("path")) { try sign(.init(method: "GET", path: "/a\n\"@query\": ?")) }
        #expect(throws: SignatureError.malformed("method")) { try sign(.init(method: "GE T", path: "/")) }
        #expect(throws: SignatureError.malformed("query")) {
            try sign(.init(method: "GET", path: "/", query: String(repeating: "a", count: 9_000)))
        }
        for keyID in ["", "a\"b", "a\\b", "a\nb", "é", String(repeating: "k", count: 129)] {
            #expect(throws: SignatureError.malformed("keyid")) { try sign(good, keyID: keyID) }
        }
        for lifetime in [0, -1, 301, Int.max] {
            #expect(throws: SignatureError.malformed("lifetime")) { try sign(good, lifetime: lifetime) }
        }
        for seconds in [-1, 1e18, .infinity, .nan] {
            #expect(throws: SignatureError.self) { try sign(good, now: Date(timeIntervalSince1970: seconds)) }
        }
    }

    @Test func digestFieldHasOneForm() throws {
        let digest = ContentDigest(of: Self.body)
        #expect(digest.fieldValue == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:")
        #expect(try ContentDigest(fieldValue: digest.fieldValue) == digest)
        let bad = [
            "", "sha-256=::", "sha-256=:AAAA:", "sha-512" + digest.fieldValue.dropFirst(7), digest.fieldValue + " ",
            digest.fieldValue + ", " + digest.fieldValue, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPF=:",
        ]
        for value in bad { #expect(throws: SignatureError.self) { try ContentDigest(fieldValue: value) } }
    }

    @Test func anyFieldsAreRefused() throws {
        let good = try sign()
        for name in [HTTPField.Name.signatureInput, .signature, .contentDigest] {
            let seed = Array(try #require(good[name]).utf8)
            fuzz(20_000, seeds: [seed], alphabet: #"hkms=():;,"@ -.?*%0123456789abcdefAZ/+"#) { bytes in
                guard bytes != seed else { return }
                var fields = good
                fields[name] = text(bytes)
                // An HTTPFields value drops what no field may hold, such as blanks around it.
                guard fields[name] != good[name] else { return }
                if (try? verify(fields)) != nil { Issue.record("accepted: \(fields[name] ?? "")") }
            }
        }
        #expect(try verify(good) == "gateway-1")
    }
}
