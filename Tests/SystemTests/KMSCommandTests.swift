import Attestation
import Foundation
import HKMSClient
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretMemory
import ServiceKit
import StorageFiles
import StorageSQLite
import TestSupport
import Testing
import TrustedKMSSoftware

/// `hkms kms` beside a gateway that serves: ten thousand key sets move from the software KMS to real OpenBao, and the
/// process that moves them is killed in the middle.
@Suite(.serialized) struct KMSCommandTests {
    private static let keySets = 10_000
    private static let alice = Requester(issuer: "static", subject: "developer", tenant: "default", groups: [])

    /// The installation's stores and keys, as another gateway process beside it has them.
    private struct Beside {
        let manager: KeyManager

        init(_ installation: Installation) async throws {
            let folder = installation.folder.path
            let passphrase = try SecretFile.read(folder + "/keystore.passphrase")
            let kms = try SoftwareKMS(opening: folder + "/keystore.json", passphrase: passphrase)
            let directory = KMSDirectory(kms, key: try #require(KMSKeyName(installation.key)))
            let sealed = try Data(contentsOf: installation.folder.appendingPathComponent("installation.sealed"))
            let keys = try await InstallationKeys.open(
                Array(sealed), installation: "hkms", tenant: "default", kms: directory)
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            manager = KeyManager(
                configuration: .init(installation: "hkms", gateway: "gateway-1", tenant: "default"), keys: keys,
                kms: directory, objects: try FileObjectStore(directory: folder + "/objects"),
                metadata: try SQLiteMetadataStore(path: folder + "/metadata.sqlite"), compute: InlineCompute(),
                logger: logger)
        }

        /// Key sets without evaluation keys, half of them in mode envelope.
        func register(_ count: Int) async throws -> [String] {
            let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
            return try await withThrowingTaskGroup(of: [String].self) { group in
                let width = 16
                for worker in 0..<width {
                    group.addTask {
                        var made: [String] = []
                        for index in stride(from: worker, to: count, by: width) {
                            let request = RegistrationRequest(
                                requestID: "many-\(index)", mode: index % 2 == 0 ? .direct : .envelope,
                                owner: alice.owner, parameters: parameters, evaluationKeys: [], profile: nil,
                                policy: .unflooded(.ckks))
                            made.append(try await manager.register(request, as: alice).keySet.manifest.keySet)
                        }
                        return made
                    }
                }
                var all: [String] = []
                for try await made in group { all += made }
                return all
            }
        }
    }

    /// Puts OpenBao under `kms` and what was there under `otherKMS`.
    private static func addOpenBao(_ installation: Installation, _ bao: OpenBaoServer, key: String) async throws {
        let tokenFile = installation.folder.appendingPathComponent("bao.token")
        try Data(bao.root.utf8).write(to: tokenFile)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: tokenFile.path)
        let file = installation.folder.appendingPathComponent("hkms.yaml")
        var lines = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n")
        let start = try #require(lines.firstIndex(of: "kms:"))
        let end = try #require(lines[(start + 1)...].firstIndex { !$0.hasPrefix(" ") })
        let old = lines[(start + 1)..<end].map { "  " + $0 }
        var others = ["otherKMS:"] + old
        others[1] = others[1].replacingOccurrences(of: "    provider", with: "  - provider")
        lines.replaceSubrange(
            start..<end,
            with: [
                "kms:", "  provider: openbao", "  key: \(key)", "  openbao:", "    address: \(bao.address)",
                "    caCertificate: \(bao.authorities)", "    tokenFile: bao.token",
            ] + others)
        try Data(lines.joined(separator: "\n").utf8).write(to: file)
        installation.endGateway()
        try await installation.start()
    }

    private static func migrate(_ installation: Installation, _ more: [String] = []) -> [String] {
        [
            "kms", "migrate", "--config", installation.folder.appendingPathComponent("hkms.yaml").path, "--from",
            "software", "--to", "openbao", "--json",
        ] + more
    }

    /// How often the log says of each key set that it was sealed anew.
    private static func sealedAnew(_ folder: URL) throws -> [String: Int] {
        struct Line: Decodable {
            struct Resource: Decodable { let keySet: String? }
            let action: String?
            let resource: Resource?
        }
        var counts: [String: Int] = [:]
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            for text in try Data(contentsOf: file).split(separator: UInt8(ascii: "\n")) {
                guard let line = try? JSONDecoder().decode(Line.self, from: text), line.action == "kms.rewrap",
                    let keySet = line.resource?.keySet
                else { continue }
                counts[keySet, default: 0] += 1
            }
        }
        return counts
    }

    private struct Report: Decodable {
        let phase: String
        let seen, rewrapped, upToDate, destroyed, failed: Int
    }

    private static func report(_ output: Programs.Output) throws -> Report {
        try #require(output.status == 0, "\(output.status) \(output.error)")
        return try JSONDecoder().decode(Report.self, from: Data(output.out.utf8))
    }

    @Test("ten thousand key sets migrate beside traffic; killed in the middle, the command goes on")
    func migration() async throws {
        let bao = try OpenBaoServer()
        let key = "hkms-\(UUID().uuidString.lowercased())"
        try bao.call("POST", "transit/keys/\(key)", #"{"type": "aes256-gcm96", "derived": true}"#)
        // Files in memory where there is a file system for it: how durable they are is not asked here.
        try await Installation.use(parent: Installation.memory) { installation in
            let beside = try await Beside(installation)
            let all = try await beside.register(Self.keySets)
            _ = try await beside.manager.destroy(all[0], as: Self.alice)
            try await Self.addOpenBao(installation, bao, key: key)
            let watched = [all[1], all[all.count / 2], all[all.count - 1]]
            var ciphertexts: [String: [[UInt8]]] = [:]
            for keySet in watched {
                ciphertexts[keySet] = try await installation.alice.encrypt(
                    vectors: [.init(real: [0.5, -0.25])], keySet: keySet
                ).body
            }
            let known = ciphertexts
            let hkms = try Programs.path("hkms")
            let dry = try Self.report(Programs.run(hkms, Self.migrate(installation, ["--dry-run"])))
            #expect(dry.phase == "dry-run" && dry.rewrapped == Self.keySets - 1 && dry.destroyed == 1)

            // Not cancelled at its end: a request that is given up would be an error like any other.
            let migrated = Flag()
            let traffic = Task {
                var count = 0
                while !migrated.isRaised {
                    for (keySet, ciphertexts) in known {
                        let opened = try await installation.alice.decrypt(ciphertexts, keySet: keySet, count: 2).body
                        #expect(abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
                        count += 1
                    }
                }
                return count
            }
            // Killed twice, each time some way on.
            for share in [4, 2] {
                let process = Process()
                process.executableURL = URL(fileURLWithPath: hkms)
                process.arguments = Self.migrate(installation)
                for handle in [\Process.standardInput, \.standardOutput, \.standardError] {
                    process[keyPath: handle] = FileHandle.nullDevice
                }
                try process.run()
                if share == 4 {
                    while process.isRunning, try await beside.manager.rewrapJob() == nil {
                        try await Task.sleep(for: .milliseconds(5))
                    }
                    let second = try Programs.run(hkms, Self.migrate(installation))
                    #expect(
                        second.status == 1 && second.error.contains("Another hkms kms job is running here"),
                        "\(second.error)")
                }
                while process.isRunning {
                    let seen = try await beside.manager.rewrapJob()?.progress.seen ?? 0
                    if seen >= Self.keySets / share { break }
                    try await Task.sleep(for: .milliseconds(20))
                }
                #expect(process.isRunning, "it was killed in the middle")
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                let job = try #require(try await beside.manager.rewrapJob())
                #expect(job.isUnfinished && job.progress.rewrapped < Self.keySets - 1)
            }
            let doctor = try Doctor(installation.folder, "--limit", "60")
            let unfinished = try #require(doctor.checks["storage.rewrap"], "\(doctor.text)")
            #expect(unfinished.outcome == "warning", "\(unfinished)")
            #expect(unfinished.detail.contains("unfinished: migrate from software to openbao"), "\(unfinished)")
            #expect(doctor.checks["storage.kms"]?.outcome == "ok", "\(doctor.text)")
            let end = try Self.report(Programs.run(hkms, Self.migrate(installation), seconds: 600))
            #expect(end.phase == "complete" && end.failed == 0)
            // What the killed processes had done and not written down counts as up to date now.
            #expect(end.rewrapped + end.upToDate == Self.keySets - 1 && end.destroyed == 1)
            migrated.raise()
            #expect(try await traffic.value > 10)

            // The old KMS is gone: everything opens, and nothing that it sealed is left.
            var moved = 0
            for description in try await beside.manager.list(as: Self.alice) where description.state == .active {
                #expect(description.manifest.sealing.provider == "openbao")
                moved += 1
            }
            #expect(moved == Self.keySets - 1)
            let folder = installation.folder
            try FileManager.default.removeItem(at: folder.appendingPathComponent("keystore.json"))
            let file = folder.appendingPathComponent("hkms.yaml")
            let text = try String(contentsOf: file, encoding: .utf8)
            let others = try #require(text.range(of: "otherKMS:"))
            let next = try #require(text.range(of: "storage:"))
            try Data((text[..<others.lowerBound] + text[next.lowerBound...]).utf8).write(to: file)
            installation.endGateway()
            try await installation.start()
            for (keySet, ciphertexts) in known {
                let opened = try await installation.alice.decrypt(ciphertexts, keySet: keySet, count: 2).body
                #expect(abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
            }
            // Each key set is on record once for each time it was sealed anew, in a log that verifies.
            let log = folder.appendingPathComponent("audit-maintenance").path
            let shown = try Programs.run(hkms, ["audit", "verify", "--config", file.path, log, "--json"])
            #expect(shown.status == 0, "\(shown.error) \(shown.out)")
            // But those that were done in the moment of a kill.
            let recorded = try Self.sealedAnew(URL(fileURLWithPath: log))
            #expect(recorded.count > Self.keySets - 1 - 2 * 2 * 8 && recorded.allSatisfy { $0.value == 1 })
        }
    }

    @Test("what OpenBao sealed before --retire, and somebody kept, nobody opens: not even root, with its context")
    func retired() async throws {
        let bao = try OpenBaoServer()
        let key = "hkms-\(UUID().uuidString.lowercased())"
        try await Installation.use(.openbao, key: key) { installation in
            struct Kept {
                let keySet: String
                let ciphertexts: [[UInt8]]
                /// What Transit's `decrypt` is asked.
                let question: String
            }
            let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
            var all: [Kept] = []
            let sealedByOpenBao: [(ProtectionMode, String, SealingContext.Object)] = [
                (.direct, "sealed-seed", .seed), (.envelope, "sealed-data-key", .dataKey),
            ]
            for (mode, name, object) in sealedByOpenBao {
                let keySet = try await installation.alice.register(
                    RegisterRequest(requestId: mode.rawValue, mode: mode.rawValue, preset: "ckks-12", release: "raw")
                ).body.id
                let ciphertexts = try await installation.alice.encrypt(
                    vectors: [.init(real: [0.5, -0.25])], keySet: keySet
                ).body
                let context = SealingContext(
                    installation: "hkms", tenant: "default", owner: Self.alice.owner, keySet: keySet,
                    parameters: parameters, suite: 1, origin: .derived, object: object, mode: mode)
                let sealed = try Data(contentsOf: installation.object(keySet, name))
                let blob = String(decoding: sealed.dropFirst(20).dropLast(32), as: UTF8.self)
                #expect(blob.hasPrefix("vault:v1:"), "\(blob.prefix(16))")
                let base64 = Data(context.bytes).base64EncodedString()
                all.append(
                    Kept(
                        keySet: keySet, ciphertexts: ciphertexts,
                        question: #"{"ciphertext": "\#(blob)", "context": "\#(base64)"}"#))
            }
            func opened(_ kept: Kept) throws -> String {
                try bao.call("POST", "transit/decrypt/\(key)", kept.question, mayFail: true)
            }
            for kept in all {
                let answer = try opened(kept)
                #expect(answer.contains(#""plaintext""#), "before it, root opens what was kept")
            }
            let config = installation.configurationFile.path
            let rotation = ["kms", "rotate", "--config", config, "--retire", "--yes", "--json"]
            let report = try Self.report(Programs.run(Programs.path("hkms"), rotation))
            #expect(report.phase == "complete" && report.rewrapped == 2 && report.failed == 0)
            for kept in all {
                let answer = try opened(kept)
                #expect(answer.contains("too old") && !answer.contains("plaintext"), "\(answer.prefix(200))")
            }
            // The version is gone, and not only below a minimum that root could lower again.
            try bao.call("POST", "transit/keys/\(key)/config", #"{"min_decryption_version": 1}"#, mayFail: true)
            for kept in all {
                let answer = try opened(kept)
                #expect(answer.contains("errors") && !answer.contains("plaintext"), "\(answer.prefix(200))")
            }
            // By the gateway that ran meanwhile, and by one that starts with what the command left.
            for isNew in [false, true] {
                if isNew {
                    installation.endGateway()
                    try await installation.start()
                }
                for kept in all {
                    let decrypted = try await installation.alice.decrypt(
                        kept.ciphertexts, keySet: kept.keySet, count: 2
                    ).body
                    #expect(abs(decrypted.vectors[0].real[1] + 0.25) < 1e-3)
                }
            }
        }
    }

    @Test("what cannot be done is refused by name, and nothing is changed")
    func refusals() async throws {
        try await Installation.use { installation in
            let hkms = try Programs.path("hkms")
            let config = installation.folder.appendingPathComponent("hkms.yaml").path
            func run(_ words: String...) throws -> Programs.Output {
                try Programs.run(hkms, ["kms"] + words + ["--config", config])
            }
            for (output, mention) in [
                (try run("migrate", "--from", "elsewhere", "--to", "software"), "elsewhere"),
                (try run("migrate", "--from", "software", "--to", "elsewhere"), "otherKMS"),
                (try run("migrate", "--from", "software", "--to", "software"), "hkms kms rotate"),
                (try run("rotate", "--retire"), "--yes"), (try run("rotate", "--width", "0"), "--width"),
                (try run("cancel"), "hkms kms status"),
                (try run("rotate", "--kms", "elsewhere"), "one that it names (software)"),
            ] {
                #expect(output.status != 0 && output.error.contains(mention), "\(output.error)")
            }
            for words in [["status"], ["cancel"], ["rotate"], ["migrate", "--from", "a", "--to", "b"]] {
                let missing = try Programs.run(hkms, ["kms"] + words + ["--config", config + ".none"])
                #expect(missing.status == 78 && missing.error.contains("hkms.yaml.none:1:"), "\(missing.error)")
            }
            #expect(try run("status").out.contains("no job yet"))
            #expect(try run("status", "--verify").out.contains("no job yet"))
            let request = RegisterRequest(requestId: "gone", mode: "direct", preset: "ckks-12", release: "raw")
            let gone = try await installation.alice.register(request).body.id
            _ = try await installation.alice.destroy(keySet: gone)
            let sealed = installation.folder.appendingPathComponent("installation.sealed")
            let before = try Data(contentsOf: sealed)
            let rotated = try run("rotate", "--retire", "--yes")
            #expect(rotated.status == 0, "\(rotated.error)")
            #expect(try Data(contentsOf: sealed) != before, "the installation's own secret is sealed anew")
            // It starts with what the job left.
            installation.endGateway()
            try await installation.start()
            let options = ["--gateway", installation.gatewayURL, "--token-file", installation.tokenFile]
            let shown = try Programs.run(hkms, ["keysets", "show", gone] + options).out
            #expect(shown.contains(/\nshredded +20/) && !shown.contains("sealed seed"), "\(shown)")
            #expect(try run("status", "--json", "--verify").out.contains(#""verified" : true"#))
            // While the KMS is away one still sees how far a job is.
            try FileManager.default.removeItem(at: installation.folder.appendingPathComponent("keystore.json"))
            let status = try run("status", "--json").out
            #expect(status.contains(#""phase" : "complete""#) && status.contains(#""verified" : false"#), "\(status)")
            #expect(try run("status", "--verify").status == 1)
        }
    }
}
