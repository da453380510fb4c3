import Attestation
import EvaluationUnit
import Foundation
import SecretMemory
import ServiceKit
import Testing

@Suite struct ConfigurationTests {
    /// A folder with a signing key and a model, removed at the end.
    private final class Folder {
        let path: String
        let publicKey: VerificationKey

        init() throws {
            path = NSTemporaryDirectory() + "unit-" + UUID().uuidString
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            publicKey = try SigningKeyFile.create(path + "/unit.key")
            try write("tiny.json", Models.tinyFile())
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ name: String, _ bytes: [UInt8]) throws {
            try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
        }

        func load(_ text: String, _ applyLockPolicy: (MemoryLockPolicy) -> Void = { _ in }) throws -> UnitConfiguration
        {
            try write("unit.yaml", Array(text.utf8))
            return try UnitConfiguration(path: path + "/unit.yaml", applyLockPolicy: applyLockPolicy)
        }

        /// `line: message` of each issue.
        func issues(_ text: String) throws -> [String] {
            do {
                _ = try load(text)
                return []
            } catch let error as ConfigurationError {
                #expect(error.issues.allSatisfy { $0.file == path + "/unit.yaml" })
                return error.issues.map { "\($0.line): \($0.message)" }
            }
        }
    }

    private static let key = Bench.key(1).verificationKey.hex
    private static let good = """
        unit:
          name: unit-1
          signingKeyFile: unit.key
        listen: {host: 127.0.0.1, port: 0, tls: {certificate: c, key: k, clientAuthorities: a, clientCertificates: required}}
        models: [tiny.json]
        gateways:
          - {name: gateway-1, certificateName: "spiffe://i/gateway-1",
             requestKey: \(key)}
        manifestKeys: [\(Bench.key(3).verificationKey.hex)]
        """

    @Test("a whole file, with paths relative to it")
    func whole() throws {
        let folder = try Folder()
        var policy: MemoryLockPolicy?
        let configuration = try folder.load(Self.good) { policy = $0 }
        #expect(policy == .required)
        #expect(configuration.name == "unit-1")
        #expect(configuration.signingKey.verificationKey == folder.publicKey)
        #expect(configuration.models.map(\.name) == ["tiny"])
        #expect(configuration.gateways.map(\.name) == ["gateway-1"])
        #expect(configuration.limits.keyCacheBytes == 1 << 30)
        #expect(configuration.limits.bodyBytes == 64 << 20)
        #expect(configuration.limits.queued == 256)

        let full =
            Self.good + """

                installation: i
                tenant: t
                limits: {keyCacheMiB: 2, bodyMiB: 3, threads: 4, queued: 5}
                memory: {lock: preferred}
                development: true
                """
        let other = try folder.load(full) { policy = $0 }
        #expect(policy == .preferred)
        #expect(other.limits == .init(keyCacheBytes: 2 << 20, bodyBytes: 3 << 20, threads: 4, queued: 5))
        #expect(other.installation == "i" && other.tenant == "t")
    }

    @Test("what is wrong is named with its line")
    func lines() throws {
        let folder = try Folder()
        func issue(_ old: String, _ new: String) throws -> String {
            let text = Self.good.replacingOccurrences(of: old, with: new)
            try #require(text != Self.good)
            let issues = try folder.issues(text)
            #expect(issues.count == 1, "\(issues)")
            return issues.first ?? ""
        }
        #expect(try issue("name: unit-1", "name: Unit 1").hasPrefix("2: unit.name: must be 1 to 64"))
        #expect(try issue("unit.key", "absent.key").hasPrefix("3: unit.signingKeyFile: cannot read"))
        #expect(try issue("unit.key", "tiny.json").hasPrefix("3: unit.signingKeyFile:"))
        #expect(try issue(", clientCertificates: required", "").hasPrefix("4: listen: tls.clientAuthorities must"))
        #expect(
            try issue("certificateName: \"spiffe://i/gateway-1\",", "").hasPrefix("7: gateways[0].certificateName:"))
        let plain = Self.good.replacingOccurrences(of: #", tls: \{.*\}\}"#, with: "}", options: .regularExpression)
        #expect(try folder.issues(plain).map { $0.prefix(17) } == ["4: listen: needs "])
        #expect(try folder.issues(plain + "\ndevelopment: true\n").isEmpty)
        let open = plain.replacingOccurrences(of: "127.0.0.1", with: "0.0.0.0") + "\ndevelopment: true\n"
        #expect(try folder.issues(open).map { $0.prefix(15) } == ["4: listen.host:"])
        #expect(try issue("port: 0", "port: 65536").hasPrefix("4: listen.port:"))
        #expect(try issue("[tiny.json]", "[absent.json]").hasPrefix("5: models: "))
        #expect(try issue("[tiny.json]", "[unit.yaml]").contains("unit.yaml: not a usable model"))
        #expect(try issue("[tiny.json]", "[tiny.json, tiny.json]").contains("another model is named tiny"))
        #expect(try issue("[tiny.json]", "[]").hasPrefix("5: models: names no model"))
        let unlocked = try folder.issues(Self.good + "\nmemory: {lock: preferred}\n")
        #expect(unlocked.count == 1 && unlocked[0].hasPrefix("10: memory.lock: may be preferred in development only"))
        #expect(try issue("manifestKeys: [", "manifestKeys: [xx, ").hasPrefix("9: manifestKeys: must be Ed25519"))
    }

    @Test("everything that is wrong is told at once")
    func all() throws {
        let folder = try Folder()
        let issues = try folder.issues(
            """
            unit: {name: "", signingKeyFile: unit.key}
            listen: {host: example.com}
            models: tiny.json
            gateways:
              - {name: g, requestKey: \(Self.key)}
              - {name: g, requestKey: \(Self.key)}
              - {name: h, requestKey: nonsense}
            limits: {threads: 0}
            color: red
            """)
        let lines = issues.map { $0.prefix { $0 != ":" } }
        #expect(lines.contains("1") && lines.contains("2") && lines.contains("3"))
        #expect(lines.filter { $0 == "6" }.count == 2, "name and key of another gateway")
        #expect(lines.contains("7") && lines.contains("8") && lines.contains("9"))
        #expect(issues.contains { $0.contains("manifestKeys: is missing") })
    }

    @Test("a signing key that others may read is refused")
    func signingKeyFile() throws {
        let folder = try Folder()
        let path = folder.path + "/unit.key"
        #expect(try SigningKeyFile.load(path).verificationKey == folder.publicKey)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.utf8.count == 65)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)

        for mode in [0o640, 0o604, 0o660, 0o620] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            let issues = try folder.issues(Self.good)
            #expect(issues.count == 1 && issues[0].contains("chmod 600 \(path)"))
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        #expect(throws: SigningKeyFileError.self) { try SigningKeyFile.create(path) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text, "an existing key is left alone")

        for wrong in ["", text.uppercased() + "x", String(text.dropFirst(3)), text + "00", "zz" + text.dropFirst(2)] {
            try folder.write("unit.key", Array(wrong.utf8))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            #expect(throws: SigningKeyFileError.malformed(path: path)) { try SigningKeyFile.load(path) }
        }
    }
}
