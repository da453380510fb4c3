import Foundation
import Gateway

/// Whether files that hold secrets are kept from others.
struct SecretFileChecks: Sendable {
    /// A file of the configuration, and whether it alone gives something away.
    struct Named: Sendable, Hashable {
        let path: String
        /// Why it matters.
        let holds: String
        /// False for what is of use only together with the KMS.
        let isSecretAlone: Bool
    }

    let files: [Named]

    init(_ settings: ServerConfiguration) {
        let configuration = settings.gateway
        var files = [
            Named(path: configuration.sealedKeyFile, holds: "the installation's sealed secret", isSecretAlone: false)
        ]
        if let tls = configuration.listen.tls {
            files.append(Named(path: tls.files.key, holds: "the listener's TLS key", isSecretAlone: true))
        }
        for unit in configuration.units {
            guard let key = unit.certificate?.key else { continue }
            files.append(Named(path: key, holds: "the TLS key for unit \(unit.name)", isSecretAlone: true))
        }
        for sink in configuration.audit.sinks {
            guard let token = sink.tokenFile else { continue }
            files.append(Named(path: token, holds: "the token for audit sink \(sink.name)", isSecretAlone: true))
        }
        for kms in settings.allKMS {
            files += kms.connection.secretFiles.map {
                Named(path: $0.path, holds: "\(kms.section).\($0.key)", isSecretAlone: true)
            }
        }
        self.files = files.reduce(into: []) { known, file in
            if !known.contains(where: { $0.path == file.path }) { known.append(file) }
        }
    }

    var check: DoctorCheck {
        DoctorCheck("files.secrets", fix: "See that the files can be read.") { [files] in
            let findings = files.map(Self.finding)
            return .together(findings, otherwise: "\(files.count) files are kept from others")
        }
    }

    private static func finding(_ file: Named) -> DoctorFinding {
        var status = stat()
        guard stat(file.path, &status) == 0 else {
            return .failed(
                "\(file.path) (\(file.holds)) is not there or cannot be looked at",
                fix: "Put it there, or correct the configuration.")
        }
        let mode = status.st_mode
        guard mode & S_IFMT != S_IFDIR else {
            return .failed(
                "\(file.path) (\(file.holds)) is a folder", fix: "Name the file itself in the configuration.")
        }
        let fix = "Run chmod 600 \(file.path); in containers mount it with mode 0400."
        if mode & 0o004 != 0, isReachable(file.path, by: 0o001) {
            let detail = "\(file.path) (\(file.holds)) can be read by everybody on this machine"
            return file.isSecretAlone ? .failed(detail, fix: fix) : .warning(detail, fix: fix)
        }
        if file.isSecretAlone, mode & 0o040 != 0, isReachable(file.path, by: 0o011) {
            return .warning("\(file.path) (\(file.holds)) can be read by group \(status.st_gid)", fix: fix)
        }
        return .ok(file.path)
    }

    /// Whether all folders on the way let one of these pass. Where the way is not to be found out, they might.
    private static func isReachable(_ path: String, by bits: mode_t) -> Bool {
        // As the system goes it: without `..` and symbolic links.
        guard let resolved = realpath(path, nil) else { return true }
        defer { free(resolved) }
        var folder = ""
        for name in String(cString: resolved).split(separator: "/").dropLast() {
            folder += "/\(name)"
            var status = stat()
            if stat(folder, &status) == 0, status.st_mode & bits == 0 { return false }
        }
        return true
    }
}
