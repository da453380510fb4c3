import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSSoftware

/// `hkms keystore`, and kill -9 in the middle of it.
@Suite("Keystore command", .serialized) struct KeystoreCommandTests {
    private static let old = "correct horse battery staple"
    private static let new = "another horse and its staple"

    @Test("the passphrase is changed, the key is rotated, and both are shown")
    func changes() async throws {
        let bench = try await Bench()
        let shown = try bench.run("show", "--json")
        #expect(shown.status == 0)
        let answer = try #require(
            JSONSerialization.jsonObject(with: Data(shown.out.utf8)) as? [String: Any], "\(shown.out)")
        #expect(answer["verified"] as? Bool == false)
        #expect((answer["scrypt"] as? [String: Any])?["n"] as? Int == 1 << 15)
        let keys = try #require(answer["keys"] as? [[String: Any]])
        #expect(keys.map { $0["name"] as? String } == ["seeds"])
        #expect(keys.first?["latestVersion"] as? Int == 2)

        #expect(try bench.run("rotate", "--passphrase-file", bench.oldFile, "--scrypt-n", "65536").status == 0)
        #expect(try bench.run("show", "--passphrase-file", bench.oldFile).out.contains("N = 65536"))
        #expect(
            try bench.run("passphrase", "--passphrase-file", bench.oldFile, "--new-passphrase-file", bench.newFile)
                .status == 0)
        try await bench.expectSecretOpens(under: Self.new)
        #expect(try bench.run("show", "--passphrase-file", bench.newFile).out.contains("yes"))
    }

    @Test("a short passphrase is taken and warned of; hkms init that fails leaves nothing")
    func choice() async throws {
        let bench = try await Bench()
        let short = bench.folder.appendingPathComponent("short").path
        try #require(
            FileManager.default.createFile(
                atPath: short, contents: Data("hello\n".utf8), attributes: [.posixPermissions: 0o600]))
        let hkms = try Programs.path("hkms")
        func make(_ name: String, _ options: String...) throws -> Programs.Output {
            try Programs.run(hkms, ["init", bench.folder.appendingPathComponent(name).path, "--dev"] + options)
        }
        for (file, isShort) in [(short, true), (bench.newFile, false)] {
            let changed = try bench.run("passphrase", "--passphrase-file", bench.oldFile, "--new-passphrase-file", file)
            #expect(changed.status == 0 && changed.error.contains("fewer than 12 bytes") == isShort, "\(changed.error)")
            #expect(!(changed.out + changed.error).contains("hello"))
            try bench.restore()
            let made = try make("made-\(isShort)", "--passphrase-file", file)
            #expect(made.status == 0 && made.error.contains("fewer than 12 bytes") == isShort, "\(made.error)")
            #expect(
                !made.out.contains("its passphrase lies beside") && made.out.contains("under models"), "\(made.out)")
        }
        let closed = "http://127.0.0.1:\(try Installation.freePort())"
        let failed = try make(
            "failed", "--kms", "openbao", "--openbao-address", closed, "--openbao-token-file", short)
        #expect(failed.status == 1, "\(failed.error)")
        #expect(!FileManager.default.fileExists(atPath: bench.folder.appendingPathComponent("failed").path))
    }

    @Test("what is wrong is named, and neither passphrase is told")
    func refusals() async throws {
        let bench = try await Bench()
        let before = try Data(contentsOf: bench.keystore)
        let open = bench.folder.appendingPathComponent("open").path
        try #require(
            FileManager.default.createFile(
                atPath: open, contents: Data(Self.new.utf8), attributes: [.posixPermissions: 0o644]))
        let cases: [(arguments: [String], text: String)] = [
            (["rotate", "--passphrase-file", bench.newFile], "does not open the keystore"),
            (["rotate"], "HKMS_KEYSTORE_PASSPHRASE"),
            (["rotate", "--passphrase-file", bench.oldFile, "--scrypt-n", "1024"], "power of two"),
            (["show", "--passphrase-file", bench.newFile], "does not open the keystore"),
            (["show", "--passphrase-file", open], "chmod 600"),
            (["passphrase", "--passphrase-file", bench.oldFile, "--new-passphrase-file", open], "chmod 600"),
            (
                ["passphrase", "--passphrase-file", bench.oldFile, "--new-passphrase-file", bench.oldFile],
                "the old one"
            ),
            (["passphrase", "--passphrase-file", bench.oldFile], "--new-passphrase-file"),
        ]
        for (arguments, text) in cases {
            let output = try bench.run(arguments)
            #expect(output.status != 0, "\(arguments)")
            #expect(output.error.contains(text), "\(arguments): \(output.error)")
            let said = output.out + output.error
            #expect(!said.contains(Self.old) && !said.contains(Self.new))
        }
        #expect(try Data(contentsOf: bench.keystore) == before)
    }

    #if os(Linux)
        /// At each call that changes a file, before it, after it and in the middle of what it writes.
        @Test("killed at any write, the old keystore or the new one is there whole")
        func kill() async throws {
            let bench = try await Bench()
            let writes = try bench.passphraseChange(target: .max, manner: 0)
            try #require(writes.status == 0 && writes.count >= 4, "\(writes)")
            var survivors: Set<String> = []
            for target in 1...writes.count {
                for manner in 0...2 {
                    try bench.restore()
                    let run = try bench.passphraseChange(target: target, manner: Int64(manner))
                    #expect(run.status != 0, "write \(target), manner \(manner): it is not killed")
                    let passphrase = try await bench.survivingPassphrase()
                    survivors.insert(passphrase)
                    // What the end left behind keeps nobody from writing.
                    let change = try bench.run(
                        "rotate", "--passphrase-file", passphrase == Self.old ? bench.oldFile : bench.newFile)
                    #expect(change.status == 0, "write \(target), manner \(manner): \(change.error)")
                    try await bench.expectSecretOpens(under: passphrase)
                }
            }
            #expect(survivors == [Self.old, Self.new])
        }
    #endif

    /// A keystore with one key of two versions, and a secret that each of them sealed.
    private struct Bench {
        let folder: URL
        let keystore: URL
        let oldFile: String
        let newFile: String
        private let original: Data
        private let blobs: [KMSSealedBlob]
        private let secret: [UInt8]
        private let key: KMSKeyName
        private let holder: Folder
        private static let context = SealingContext.forTests(["keystore", "command"])

        private final class Folder: Sendable {
            let url = FileManager.default.temporaryDirectory.appendingPathComponent("keystore-\(UUID().uuidString)")
            deinit { try? FileManager.default.removeItem(at: url) }
        }

        init() async throws {
            holder = Folder()
            folder = holder.url
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            keystore = folder.appendingPathComponent("keystore.json")
            key = try #require(KMSKeyName("seeds"))
            (oldFile, newFile) = (folder.path + "/old", folder.path + "/new")
            for (path, text) in [(oldFile, KeystoreCommandTests.old), (newFile, KeystoreCommandTests.new)] {
                try #require(
                    FileManager.default.createFile(
                        atPath: path, contents: Data("\(text)\n".utf8), attributes: [.posixPermissions: 0o600]))
            }
            let kms = try SoftwareKMS.create(
                at: keystore.path, passphrase: try SecretBytes(copying: KeystoreCommandTests.old.utf8),
                developmentOnly: false, scryptCost: .minimum)
            try await kms.createKey(key)
            secret = (0..<32).map { _ in UInt8.random(in: 0...255) }
            var blobs: [KMSSealedBlob] = []
            for _ in 1...2 {
                let secret = try SecretBytes(copying: secret)
                blobs.append(try await kms.seal(secret, under: key, context: Self.context, as: .service))
                if blobs.count == 1 { try await kms.rotateKey(key) }
            }
            self.blobs = blobs
            original = try Data(contentsOf: keystore)
        }

        func run(_ arguments: String...) throws -> Programs.Output { try run(arguments) }

        func run(_ arguments: [String]) throws -> Programs.Output {
            try Programs.run(
                try Programs.path("hkms"),
                ["keystore", arguments[0], "--keystore", keystore.path] + arguments.dropFirst())
        }

        func expectSecretOpens(under passphrase: String) async throws {
            let kms = try SoftwareKMS(
                opening: keystore.path, passphrase: try SecretBytes(copying: passphrase.utf8))
            for blob in blobs {
                let opened = try await kms.open(blob, under: key, context: Self.context, as: .service)
                let isSame = opened.equals(secret)
                #expect(isSame)
            }
        }

        func survivingPassphrase() async throws -> String {
            for passphrase in [KeystoreCommandTests.old, KeystoreCommandTests.new] {
                do {
                    try await expectSecretOpens(under: passphrase)
                    return passphrase
                } catch SoftwareKMSError.wrongPassphrase {
                    continue
                }
            }
            throw SoftwareKMSError.damaged(path: keystore.path, part: "opens under neither passphrase")
        }

        /// The keystore as it was at first, and what an end left beside it.
        func restore() throws {
            let written = keystore.appendingPathExtension("restored")
            try #require(
                FileManager.default.createFile(
                    atPath: written.path, contents: original, attributes: [.posixPermissions: 0o600]))
            try #require(rename(written.path, keystore.path) == 0)
        }

        /// Changes the passphrase under Tests/Preload/kill_at_write.c.
        /// - Returns: its exit code, and how many calls it made that change a file.
        func passphraseChange(target: Int, manner: Int64) throws -> (status: Int32, count: Int) {
            let library = folder.appendingPathComponent("kill_at_write.so").path
            if !FileManager.default.fileExists(atPath: library) {
                let source = Programs.repository.appendingPathComponent("Tests/Preload/kill_at_write.c").path
                let built = try Programs.run(
                    "/usr/bin/env", ["clang", "-shared", "-fPIC", "-O2", "-o", library, source])
                try #require(built.status == 0, "clang failed: \(built.error)")
            }
            let control = folder.appendingPathComponent("kill-control")
            try [Int64(target), manner, 0, 0].withUnsafeBytes { try Data($0).write(to: control) }
            let output = try Programs.run(
                "/usr/bin/env",
                [
                    "LD_PRELOAD=\(library)", "HKMS_KILL_CONTROL=\(control.path)", try Programs.path("hkms"),
                    "keystore", "passphrase", "--keystore", keystore.path, "--passphrase-file", oldFile,
                    "--new-passphrase-file", newFile,
                ])
            let count = try Data(contentsOf: control).withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: 16, as: Int64.self)
            }
            return (output.status, Int(count))
        }
    }
}
