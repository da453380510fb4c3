import Foundation
import HKMSClient
import ServiceKit
import Testing

/// An authority of certificates and revocation lists, by OpenSSL, which is not ours.
struct TestAuthority {
    private let folder: URL
    private let certificate: String
    private let key: String

    /// The authority that `hkms init` has made for an installation.
    init(of installation: Installation) throws {
        let tls = installation.folder.appendingPathComponent("tls")
        try self.init(
            folder: installation.folder.appendingPathComponent("authority"),
            certificate: tls.appendingPathComponent("ca.pem").path, key: tls.appendingPathComponent("ca.key").path)
    }

    /// Another one, which calls itself as the one of `installation` does.
    init(impostorIn installation: Installation) throws {
        let folder = installation.folder.appendingPathComponent("impostor")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let (certificate, key) = (folder.appendingPathComponent("ca.pem").path, folder.appendingPathComponent("k").path)
        let real = installation.folder.appendingPathComponent("tls/ca.pem").path
        let name = try Self.openssl("x509", "-in", real, "-noout", "-subject", "-nameopt", "compat").out
            .trimmingCharacters(in: .whitespacesAndNewlines).replacingOccurrences(of: "subject=", with: "")
        try Self.openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            name.hasPrefix("/") ? name : "/" + name.replacingOccurrences(of: " = ", with: "="), "-utf8", "-keyout",
            key, "-out", certificate)
        try self.init(folder: folder, certificate: certificate, key: key)
    }

    private init(folder: URL, certificate: String, key: String) throws {
        self.folder = folder
        self.certificate = certificate
        self.key = key
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data().write(to: folder.appendingPathComponent("index.txt"))
        try Data("01\n".utf8).write(to: folder.appendingPathComponent("crlnumber"))
        let settings = """
            [ca]
            default_ca = d
            [d]
            database = \(folder.path)/index.txt
            crlnumber = \(folder.path)/crlnumber
            new_certs_dir = \(folder.path)
            default_md = sha256
            default_days = 1
            policy = p
            rand_serial = yes
            unique_subject = no
            crl_extensions = e
            [p]
            commonName = supplied
            [e]
            authorityKeyIdentifier = issuer:always

            """
        try Data(settings.utf8).write(to: folder.appendingPathComponent("ca.cnf"))
    }

    /// - Parameters:
    ///   - names: subject alternative names, as OpenSSL writes them.
    ///   - ended: whether its time is over.
    func issue(_ name: String, _ names: String, ended: Bool = false) throws -> CertificateFiles {
        let path = { (suffix: String) in folder.appendingPathComponent(name + suffix).path }
        try Data("subjectAltName=\(names)\n".utf8).write(to: URL(fileURLWithPath: path(".ext")))
        try Self.openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=\(name)", "-keyout",
            path(".key"), "-out", path(".csr"))
        let times = ended ? ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"] : []
        try ca(["-batch", "-notext", "-in", path(".csr"), "-extfile", path(".ext"), "-out", path(".pem")] + times)
        return CertificateFiles(certificate: path(".pem"), key: path(".key"))
    }

    func revoke(_ files: CertificateFiles) throws { try ca(["-revoke", files.certificate]) }

    /// Writes the list of what is revoked so far.
    /// - Parameters:
    ///   - made: the day, as YYYYMMDD; tells lists apart, whatever the clock says.
    ///   - ends: the day.
    func list(made: String, ends: String = "20490101", at path: String) throws {
        let file = folder.appendingPathComponent("crl.pem")
        try ca([
            "-gencrl", "-crl_lastupdate", made + "000000Z", "-crl_nextupdate", ends + "000000Z", "-out", file.path,
        ])
        try Data(contentsOf: file).write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    private func ca(_ arguments: [String]) throws {
        let common = ["ca", "-config", folder.appendingPathComponent("ca.cnf").path, "-cert", certificate]
        try Self.openssl(common + ["-keyfile", key] + arguments)
    }

    @discardableResult
    private static func openssl(_ arguments: String...) throws -> Programs.Output { try openssl(arguments) }

    @discardableResult
    private static func openssl(_ arguments: [String]) throws -> Programs.Output {
        let output = try Programs.run("/usr/bin/openssl", arguments)
        try #require(output.status == 0, "openssl \(arguments): \(output.error)")
        return output
    }
}

extension Installation {
    /// A client that shows a certificate.
    func client(_ certificate: CertificateFiles?, token: String? = nil) throws -> HKMSClient {
        try HKMSClient(
            address: gatewayURL, token: token, caCertificateFile: folder.appendingPathComponent("tls/ca.pem").path,
            clientCertificate: certificate)
    }

    /// Has the gateway ask for certificates of the installation's authority, and know these callers.
    func takeCertificates(of callers: String, revocationLists: [String] = []) throws {
        let file = folder.appendingPathComponent("hkms.yaml")
        var text = try String(contentsOf: file, encoding: .utf8)
        let lists = revocationLists.isEmpty ? "" : "    revocationLists: [\(revocationLists.joined(separator: ", "))]\n"
        for (old, new) in [
            ("  tls:\n", "  tls:\n    reloadSeconds: 1\n    clientAuthorities: tls/ca.pem\n" + lists),
            ("identity:\n", "identity:\n  clientCertificates:\n" + callers),
        ] {
            let range = try #require(text.range(of: old), "hkms.yaml lacks \(old)")
            text.replaceSubrange(range, with: new)
        }
        try Data(text.utf8).write(to: file)
    }
}
