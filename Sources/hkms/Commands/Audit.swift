import ArgumentParser
import Attestation
import AuditLog
import Foundation
import ServiceKit

/// `hkms audit`
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Verify and read the audit log of a gateway.",
        discussion: """
            These commands read files and ask nobody. Give them the key that signs the log from elsewhere than the \
            log's own disk, and keep heads there, too: without a key whoever can write the files can write the whole \
            log anew, and without a head can cut its end off.

              hkms audit verify --key HEX /var/lib/hkms/audit
              hkms audit head --key HEX /var/lib/hkms/audit
              hkms audit verify --key HEX --expect-head SEQ:HASH /var/lib/hkms/audit
            """,
        subcommands: [Verify.self, Head.self, Show.self])

    /// Which log, and whose.
    struct Source: ParsableArguments {
        @Option(name: .long, help: "Public key that signs the log, 64 hex digits; may be repeated.")
        var key: [String] = []
        @Option(name: .long, help: "A gateway's configuration: its audit.publicKeys and audit.directory.")
        var config: String?
        @Option(name: .long, help: "SEQ:HASH of the last line before the first file, where older ones are archived.")
        var after: String?
        @Argument(help: "The log's folder, or its files in their order.") var paths: [String] = []

        func validate() throws {
            guard config != nil || !paths.isEmpty else { throw ValidationError("name a folder, files, or --config") }
            guard key.allSatisfy({ VerificationKey(hex: $0) != nil }) else {
                throw ValidationError("--key is an Ed25519 public key: 64 lower-case hex digits")
            }
            if let after { _ = try Source.head(after, "--after") }
        }

        static func head(_ text: String, _ option: String) throws -> AuditHead {
            guard let head = AuditHead(text) else {
                throw ValidationError("\(option) is SEQ:HASH, a number and 64 lower-case hex digits")
            }
            return head
        }

        /// Verifies, and shows each line on the way.
        func read(expecting expected: [AuditHead] = [], visit: (AuditLine) -> Void = { _ in }) throws -> AuditReport {
            var trusted = key.compactMap { VerificationKey(hex: $0) }
            var paths = paths
            if let config {
                let document = try YAMLDocument(path: config)
                for key in document.root.keys where key != "audit" { document.root.ignore(key) }
                let settings = AuditConfiguration(
                    document.root.optionalSection("audit"),
                    directory: URL(fileURLWithPath: config).deletingLastPathComponent().path)
                try document.finish()
                trusted += settings.publicKeys
                if paths.isEmpty { paths = [settings.directory] }
            }
            var files: [String] = []
            for path in paths {
                var isFolder: ObjCBool = false
                _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
                files += isFolder.boolValue ? try AuditVerification.files(in: path) : [path]
            }
            let verification = AuditVerification(
                trusted: trusted, after: try after.map { try Self.head($0, "--after") }, expecting: expected)
            return try verification.run(files, visit: visit)
        }
    }

    /// Told beside every result that rests on the log's own word.
    static func warn(_ report: AuditReport) {
        guard !report.isKeyGiven else { return }
        Terminal.tell("hkms: no key was given: whoever wrote the files may have made up the whole log\n")
    }
}

extension AuditFault: ActionableError {
    public var title: String {
        switch kind {
        case .unreadable, .missing: "No audit log"
        case .malformed, .sequence, .chain, .signature, .unknownKey, .unsigned, .head:
            "Audit log not as it was written"
        }
    }
    public var detail: String { description }
    public var fix: String {
        switch kind {
        case .unsigned: "Verify again while nobody writes; what a crash left, the gateway's next start sets aside."
        case .unreadable, .missing: "Name the folder of a log, or its files in their order."
        case .unknownKey: "Give the key of that file too, if it was ever the installation's."
        case .malformed, .sequence, .chain, .signature, .head:
            "Keep the files as they are, and compare them with copies: sinks, backups, heads that were kept."
        }
    }
}
