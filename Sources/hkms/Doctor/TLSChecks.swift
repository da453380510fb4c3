import Foundation
import Gateway
import ServiceKit
import SwiftASN1
import TransportSecurity
import X509

/// Certificates, keys, authorities and revocation lists: whether they go together, and for how long.
struct TLSChecks: Sendable {
    let checks: [DoctorCheck]

    /// Who renews by hand needs to be told in time.
    private static let certificateNotice: TimeInterval = 14 * 86_400
    private static let listNotice: TimeInterval = 86_400

    init(_ configuration: GatewayConfiguration) {
        var checks: [DoctorCheck] = []
        if let tls = configuration.listen.tls {
            checks.append(Self.identity("tls.listen", tls.files))
            if let authorities = tls.clientAuthorities {
                checks.append(Self.authorities("tls.clientAuthorities", authorities))
                if !tls.revocationLists.isEmpty {
                    checks.append(Self.revocation(tls.revocationLists, authorities: authorities))
                }
            }
        }
        for unit in configuration.units {
            if let files = unit.certificate { checks.append(Self.identity("tls.unit.\(unit.name)", files)) }
            if let authorities = unit.tls.authorities {
                checks.append(Self.authorities("tls.unit.\(unit.name).authorities", authorities))
            }
        }
        self.checks = checks
    }

    private static func identity(_ name: String, _ files: CertificateFiles) -> DoctorCheck {
        DoctorCheck(name, fix: "Put a certificate chain and its unencrypted private key there, both PEM.") {
            try await withoutBlocking {
                _ = try files.reloader()
                guard let leaf = try certificates(files.certificate).first else {
                    throw DoctorFailure("\(files.certificate) holds no certificate", fix: "Put one there, PEM.")
                }
                let subject = names(of: leaf)
                let fix = "Renew \(files.certificate) and its key; they are taken without a restart."
                return lifetime(of: leaf, called: subject, notice: certificateNotice, fix: fix)
            }
        }
    }

    private static func authorities(_ name: String, _ path: String) -> DoctorCheck {
        DoctorCheck(name, fix: "Put the authorities' certificates there, PEM.") {
            try await withoutBlocking {
                let found = try certificates(path)
                guard !found.isEmpty else { throw DoctorFailure("\(path) holds no certificate", fix: "Put one there.") }
                let fix = "Put the authority's new certificate beside the old one in \(path), and restart the gateway."
                return .together(
                    found.map { lifetime(of: $0, called: "\($0.subject)", notice: certificateNotice, fix: fix) },
                    otherwise: found.count == 1 ? "one authority" : "\(found.count) authorities")
            }
        }
    }

    private static func revocation(_ paths: [String], authorities: String) -> DoctorCheck {
        DoctorCheck("tls.revocationLists", fix: "Put the lists there that the authorities publish.") {
            try await withoutBlocking {
                let now = Date()
                let lists = try RevocationLists(paths: paths, authorities: authorities)
                let fix = "Fetch the authority's current list; without it its certificates are refused."
                if let problem = lists.problems(at: now).first { return .failed(problem, fix: fix) }
                for path in paths {
                    let list = try RevocationList(Array(try Data(contentsOf: URL(fileURLWithPath: path))))
                    guard list.nextUpdate.timeIntervalSince(now) < listNotice else { continue }
                    return .warning("\(path) ends on \(Format.date(list.nextUpdate))", fix: fix)
                }
                return .ok(paths.count == 1 ? "one list, current" : "\(paths.count) lists, all current")
            }
        }
    }

    private static func lifetime(
        of certificate: Certificate, called name: String, notice: TimeInterval, fix: String
    ) -> DoctorFinding {
        let (now, end) = (Date(), certificate.notValidAfter)
        if now < certificate.notValidBefore {
            return .failed(
                "\(name) begins on \(Format.date(certificate.notValidBefore))", fix: "Check the clock, or wait.")
        }
        if now > end { return .failed("\(name) ended on \(Format.date(end))", fix: fix) }
        guard end.timeIntervalSince(now) >= notice else {
            return .warning("\(name) ends on \(Format.date(end))", fix: fix)
        }
        return .ok("\(name), until \(Format.date(end))")
    }

    private static func names(of certificate: Certificate) -> String {
        var names: [String] = []
        if let alternatives = try? certificate.extensions.subjectAlternativeNames {
            for alternative in alternatives {
                switch alternative {
                case .dnsName(let name), .uniformResourceIdentifier(let name): names.append(name)
                default: break
                }
            }
        }
        return names.isEmpty ? "a certificate without names" : names.joined(separator: " ")
    }

    private static func certificates(_ path: String) throws -> [Certificate] {
        guard let text = try? String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8),
            let documents = try? PEMDocument.parseMultiple(pemString: text)
        else { throw DoctorFailure("\(path) cannot be read as PEM", fix: "Put PEM certificates there.") }
        return try documents.filter { $0.discriminator == "CERTIFICATE" }.map { try Certificate(pemDocument: $0) }
    }
}
