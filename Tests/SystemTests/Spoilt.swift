import Foundation
import ServiceKit
import Testing

/// One way to spoil an installation, and what a doctor says of it.
struct Spoilt {
    let name: String
    var fails: Set<String> = []
    var warns: Set<String> = Spoilt.usual
    var skips: Set<String> = []
    /// In the detail of a check.
    let tells: String
    /// Given a copy of the installation.
    let spoil: (URL) throws -> Void

    /// What every installation for development is warned of.
    static let usual: Set = ["configuration", "identity.tokens", "kms.capabilities"]
    private static let behindKey: Set = ["kms.seal", "kms.dataKey", "kms.rewrap"]
    private static let behindConnection: Set = [
        "kms.health", "kms.key", "kms.capabilities", "kms.random", "installation.key",
    ]
    /// What key sets are sealed by.
    private static let seals: Set = ["storage.kms", "storage.rewrap"]
    private static let behindInstallation: Set = seals.union(["storage.rows", "audit.log", "unit.unit-1"])

    static func all(_ installation: Installation, _ authority: TestAuthority) throws -> [Spoilt] {
        try files(installation) + keys() + certificates(authority) + stores() + neighbours(installation)
    }

    private static func files(_ installation: Installation) -> [Spoilt] {
        [
            Spoilt(name: "policy", fails: ["policy"], tells: "policy.yaml:2:") { folder in
                try Data("version: 1\nrules: none\n".utf8).write(to: folder.appendingPathComponent("policy.yaml"))
            },
            Spoilt(
                name: "tokens", fails: ["identity.tokens"], warns: ["configuration", "kms.capabilities"],
                tells: "tokens.yaml:"
            ) {
                try Data("tokens: 1\n".utf8).write(to: $0.appendingPathComponent("tokens.yaml"))
            },
            Spoilt(
                name: "open passphrase", fails: ["files.secrets", "kms.connect"],
                warns: ["configuration", "identity.tokens"],
                skips: behindKey.union(behindInstallation).union(behindConnection),
                tells: "can be read by everybody on this machine", spoil: openPassphrase),
            Spoilt(
                name: "open passphrase beyond ..", fails: ["files.secrets", "kms.connect"],
                warns: ["configuration", "identity.tokens"],
                skips: behindKey.union(behindInstallation).union(behindConnection),
                tells: "can be read by everybody on this machine"
            ) { folder in
                try openPassphrase(folder)
                try edit(
                    folder, "passphraseFile: keystore.passphrase",
                    "passphraseFile: ../\(folder.lastPathComponent)/keystore.passphrase")
            },
            Spoilt(
                name: "folder for a passphrase", fails: ["files.secrets", "kms.connect"],
                warns: ["configuration", "identity.tokens"],
                skips: behindKey.union(behindInstallation).union(behindConnection),
                tells: "which kms.software.passphraseFile of the configuration names (Is a directory)"
            ) { try edit($0, "passphraseFile: keystore.passphrase", "passphraseFile: tls") },
            Spoilt(
                name: "objects beyond a folder that is not there",
                skips: seals, tells: "is not there yet; the gateway's start makes it"
            ) { try edit($0, "  objects: objects", "  objects: none/../none/objects") },
            Spoilt(name: "group's TLS key", warns: usual.union(["files.secrets"]), tells: "can be read by group") {
                folder in
                let key = folder.appendingPathComponent("tls/gateway-1.key").path
                try FileManager.default.setAttributes([.posixPermissions: 0o750], ofItemAtPath: folder.path)
                try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: key)
            },
        ]
    }

    private static func keys() -> [Spoilt] {
        [
            Spoilt(
                name: "another KMS key", fails: ["kms.key"],
                skips: behindKey.union(behindInstallation).union(["installation.key"]),
                tells: "no key named seeds-of-nobody"
            ) { try edit($0, #"(?m)^  key: .*$"#, "  key: seeds-of-nobody") },
            Spoilt(
                name: "sealed key of nothing", fails: ["installation.key"], skips: behindInstallation,
                tells: "installation.sealed does not open"
            ) { folder in
                let file = folder.appendingPathComponent("installation.sealed")
                var bytes = try Data(contentsOf: file)
                bytes[bytes.count - 1] ^= 1
                try bytes.write(to: file)
            },
            Spoilt(
                name: "another tenant", fails: ["installation.key"], skips: behindInstallation, tells: "does not open"
            ) { try edit($0, "tenant: default", "tenant: another") },
        ]
    }

    private static func certificates(_ authority: TestAuthority) throws -> [Spoilt] {
        let ended = try authority.issue("ended", "DNS:localhost", ended: true)
        let ending = try authority.issue("ending", "DNS:localhost")
        func listen(_ files: CertificateFiles, _ folder: URL) throws {
            try edit(
                folder, #"  tls:\n    certificate: tls/gateway-1.pem\n    key: tls/gateway-1.key"#,
                "  tls:\n    certificate: \(files.certificate)\n    key: \(files.key)")
        }
        return [
            Spoilt(name: "ended certificate", fails: ["tls.listen"], tells: "localhost ended on 2020-01-02T") {
                try listen(ended, $0)
            },
            Spoilt(name: "ending certificate", warns: usual.union(["tls.listen"]), tells: "localhost ends on ") {
                try listen(ending, $0)
            },
            Spoilt(name: "another's key", fails: ["tls.listen"], tells: "the key is not that of the certificate") {
                try listen(CertificateFiles(certificate: ending.certificate, key: ended.key), $0)
            },
            Spoilt(name: "ended revocation list", fails: ["tls.revocationLists"], tells: "is not of this time") {
                folder in
                let list = folder.appendingPathComponent("list.pem").path
                try authority.list(made: "20200101", ends: "20200102", at: list)
                try edit(
                    folder, #"  tls:\n    cert"#,
                    "  tls:\n    clientAuthorities: tls/ca.pem\n    revocationLists: [\(list)]\n    cert")
            },
            Spoilt(name: "no authority", fails: ["tls.unit.unit-1.authorities", "unit.unit-1"], tells: "tls/none.pem") {
                try edit($0, "authorities: tls/ca.pem", "authorities: tls/none.pem")
            },
        ]
    }

    private static func stores() -> [Spoilt] {
        [
            Spoilt(name: "no folder of objects", fails: ["storage.objects"], skips: seals, tells: "objects") { folder in
                let objects = folder.appendingPathComponent("objects")
                try FileManager.default.removeItem(at: objects)
                try Data("a file".utf8).write(to: objects)
            },
            Spoilt(
                name: "no database", fails: ["storage.metadata"], skips: seals.union(["storage.rows", "audit.log"]),
                tells: "is not an SQLite database or is damaged"
            ) { try Data(repeating: 7, count: 8192).write(to: $0.appendingPathComponent("metadata.sqlite")) },
            Spoilt(name: "forged row", fails: ["storage.rows", "storage.kms"], tells: "1 of ") { folder in
                try sqlite(folder, "UPDATE records SET version = version + 1 WHERE collection = 'keysets'")
            },
            Spoilt(
                name: "torn database", fails: ["storage.metadata"], skips: seals.union(["storage.rows", "audit.log"]),
                tells: "damaged"
            ) {
                let file = $0.appendingPathComponent("metadata.sqlite")
                var bytes = try Data(contentsOf: file)
                bytes.replaceSubrange(4096..<bytes.count, with: Data(repeating: 0xA5, count: bytes.count - 4096))
                try bytes.write(to: file)
            },
            Spoilt(name: "altered log", fails: ["audit.log"], tells: "one of the two was changed") { folder in
                let file = try log(in: folder)
                let text = try String(contentsOf: file, encoding: .utf8)
                let altered = text.replacingOccurrences(of: "gateway.start", with: "gateway.stbrt")
                try #require(text != altered)
                try Data(altered.utf8).write(to: file)
            },
            Spoilt(name: "cut log", fails: ["audit.log"], tells: "its end is cut off") { folder in
                let file = try log(in: folder)
                let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
                // At the first checkpoint the log is whole in itself.
                let end = try #require(lines.firstIndex { $0.contains("\"checkpoint\"") })
                try #require(end + 1 < lines.count)
                try Data((lines[...end].joined(separator: "\n") + "\n").utf8).write(to: file)
            },
            Spoilt(
                name: "a KMS that is not named any more", fails: ["storage.kms"],
                tells: "1 key set is sealed by the KMS software, which the configuration does not name"
            ) { try edit($0, "  provider: software", "  provider: software\n  name: another") },
            Spoilt(name: "no manifest", fails: ["storage.kms"], tells: "without a manifest that can be believed") {
                folder in
                let objects = folder.appendingPathComponent("objects")
                let found = FileManager.default.enumerator(atPath: objects.path)?.compactMap { $0 as? String } ?? []
                let manifest = try #require(found.first { $0.contains("/manifest-") })
                try FileManager.default.removeItem(at: objects.appendingPathComponent(manifest))
            },
            Spoilt(name: "no log", fails: ["audit.log"], tells: "holds no log, and it ended at line") {
                try FileManager.default.removeItem(at: try log(in: $0))
            },
        ]
    }

    private static func neighbours(_ installation: Installation) throws -> [Spoilt] {
        let nobody = try Installation.freePort()
        let sink = "  sinks:\n    - {name: siem, kind: syslogTCP, host: 127.0.0.1, port: \(nobody)"
        return [
            Spoilt(name: "another unit's key", fails: ["unit.unit-1"], tells: "is not believed") {
                let key = "d08fda1f1a6fc49fc2ddfab177720ef4ec197de1b7307be7f11957ab1b3b2bc1"
                try edit($0, #"    publicKey: [0-9a-f]{64}"#, "    publicKey: \(key)")
            },
            Spoilt(name: "no unit", fails: ["unit.unit-1"], tells: "nobody listens there") {
                try edit($0, #"url: https://localhost:\d+"#, "url: https://localhost:\(nobody)")
            },
            Spoilt(name: "port in use", fails: ["listen"], tells: "is in use, and not by a gateway") {
                try edit($0, #"port: \d+"#, "port: \(installation.unitPort)")
            },
            Spoilt(name: "address of another machine", fails: ["listen"], tells: "cannot be listened at") {
                try edit($0, #"host: 127.0.0.1"#, "host: 192.0.2.1")
            },
            Spoilt(
                name: "no issuer", fails: ["identity.oidc http://127.0.0.1:\(nobody)"], tells: "does not give its keys"
            ) {
                try edit(
                    $0, "identity:\n",
                    "identity:\n  oidc:\n    - {issuer: \"http://127.0.0.1:\(nobody)\", audiences: [hkms]}\n")
            },
            Spoilt(name: "no sink", warns: usual.union(["audit.sink.siem"]), tells: "Connection refused") {
                try edit($0, "  directory: audit\n", "  directory: audit\n\(sink)}\n")
            },
            Spoilt(name: "no required sink", fails: ["audit.sink.siem"], tells: "it is required") {
                try edit($0, "  directory: audit\n", "  directory: audit\n\(sink), required: true}\n")
            },
        ]
    }

    // MARK: - Means

    private static func openPassphrase(_ folder: URL) throws {
        let passphrase = folder.appendingPathComponent("keystore.passphrase").path
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        try FileManager.default.setAttributes([.posixPermissions: 0o604], ofItemAtPath: passphrase)
    }

    /// Replaces the first match of a regular expression in hkms.yaml.
    private static func edit(_ folder: URL, _ pattern: String, _ replacement: String) throws {
        let file = folder.appendingPathComponent("hkms.yaml")
        var text = try String(contentsOf: file, encoding: .utf8)
        let range = try #require(text.range(of: pattern, options: .regularExpression), "hkms.yaml lacks \(pattern)")
        text.replaceSubrange(range, with: replacement)
        try Data(text.utf8).write(to: file)
    }

    private static func log(in folder: URL) throws -> URL {
        let audit = folder.appendingPathComponent("audit")
        let name = try FileManager.default.contentsOfDirectory(atPath: audit.path).first { $0.hasSuffix(".log") }
        return audit.appendingPathComponent(try #require(name))
    }

    private static func sqlite(_ folder: URL, _ statement: String) throws {
        try Installation.sqlite(
            folder, "n = c.execute(\"\(statement)\").rowcount; c.commit(); assert n == 1, n")
    }
}

extension Installation {
    /// Brings what a gateway left in SQLite's log into the file itself, as whoever opens it next does.
    func settleMetadata() throws {
        try Self.sqlite(folder, "c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()")
    }

    /// - Parameter program: in Python, with the database as `c`.
    fileprivate static func sqlite(_ folder: URL, _ program: String) throws {
        let output = try Programs.run(
            "/usr/bin/env",
            [
                "python3", "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \(program); c.close()",
                folder.appendingPathComponent("metadata.sqlite").path,
            ])
        try #require(output.status == 0, "\(output.error)")
    }
}
