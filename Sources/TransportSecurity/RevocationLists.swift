import Crypto
import ServiceKit
import SwiftASN1
import Synchronization
import X509

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The lists of revoked certificates that a listener goes by, one for each authority of its clients.
///
/// Whom no current list is responsible for is refused: an authority that does not say who is revoked vouches for
/// nobody.
public final class RevocationLists: Sendable {
    /// What is to be thought of a certificate.
    public enum Verdict: Sendable, Equatable {
        case good
        case revoked
        /// No list of its issuer is there, or the one that is has ended.
        case unknown
    }

    /// What a look at a file gave.
    public enum ReloadEvent: Sendable, Equatable {
        /// Another list is in force now.
        case renewed(path: String, revoked: Int)
        /// The earlier list goes on until its end.
        case failed(path: String, reason: String)
    }

    /// Clocks of authorities may be ahead by this.
    private static let clockSkew: TimeInterval = 300

    private struct Entry {
        let path: String
        var list: RevocationList
        /// Of the file, by which a look finds it unchanged.
        var digest: SHA256.Digest
    }

    private let authorities: [Certificate]
    private let entries: Mutex<[Entry]>

    /// - Parameters:
    ///   - paths: files of lists, PEM or DER, one for each authority whose certificates are to be taken.
    ///   - authorities: PEM file of the authorities of clients.
    /// - Throws: ``TLSError`` where a file cannot be used.
    public init(paths: [String], authorities: String) throws(TLSError) {
        guard let text = try? String(contentsOf: URL(fileURLWithPath: authorities), encoding: .utf8),
            let documents = try? PEMDocument.parseMultiple(pemString: text)
        else { throw .authorities(path: authorities, reason: "cannot be read as PEM certificates") }
        let certificates = documents.compactMap { try? Certificate(pemDocument: $0) }
        self.authorities = certificates
        var entries: [Entry] = []
        for path in paths {
            let list: RevocationList
            let data = Self.bytes(path)
            switch Self.read(data, certificates) {
            case .success(let read): list = read
            case .failure(let reason): throw .revocationList(path: path, reason: reason.text)
            }
            guard !entries.contains(where: { $0.list.issuer == list.issuer }) else {
                throw .revocationList(path: path, reason: "another file has a list of the same authority")
            }
            entries.append(Entry(path: path, list: list, digest: SHA256.hash(data: data ?? Data())))
        }
        self.entries = Mutex(entries)
    }

    /// - Parameter time: now.
    public func verdict(on certificate: PeerCertificate, at time: Date) -> Verdict {
        entries.withLock { entries in
            guard let list = entries.first(where: { $0.list.issuer == certificate.certificate.issuer })?.list,
                Self.isCurrent(list, at: time)
            else { return .unknown }
            return list.contains(certificate.certificate.serialNumber) ? .revoked : .good
        }
    }

    /// What keeps certificates from being taken, a sentence each; empty where nothing does.
    public func problems(at time: Date) -> [String] {
        entries.withLock { entries in
            entries.filter { !Self.isCurrent($0.list, at: time) }.map {
                "the revocation list \(URL(fileURLWithPath: $0.path).lastPathComponent) is not of this time; "
                    + "certificates of its authority are refused"
            }
        }
    }

    /// Looks at every file again.
    /// - Parameter time: now; a list of the future does not take the place of a current one.
    /// - Returns: what is new.
    public func reload(at time: Date = Date()) -> [ReloadEvent] {
        var events: [ReloadEvent] = []
        for old in entries.withLock({ $0 }) {
            let data = Self.bytes(old.path)
            let digest = SHA256.hash(data: data ?? Data())
            guard digest != old.digest else { continue }
            switch Self.read(data, authorities) {
            case .failure(let reason): events.append(.failed(path: old.path, reason: reason.text))
            case .success(let list):
                guard list.issuer == old.list.issuer, list.thisUpdate >= old.list.thisUpdate else {
                    events.append(
                        .failed(path: old.path, reason: "it is older than the list in force, or of another authority"))
                    continue
                }
                guard list.thisUpdate <= time.addingTimeInterval(Self.clockSkew) || !Self.isCurrent(old.list, at: time)
                else {
                    events.append(.failed(path: old.path, reason: "it is of the future"))
                    continue
                }
                guard list != old.list else { continue }
                entries.withLock { entries in
                    for index in entries.indices where entries[index].path == old.path {
                        (entries[index].list, entries[index].digest) = (list, digest)
                    }
                }
                events.append(.renewed(path: old.path, revoked: list.count))
            }
        }
        return events
    }

    private static func isCurrent(_ list: RevocationList, at time: Date) -> Bool {
        list.thisUpdate <= time.addingTimeInterval(clockSkew) && time <= list.nextUpdate
    }

    private struct Reason: Error {
        let text: String
    }

    private static func bytes(_ path: String) -> Data? { try? Data(contentsOf: URL(fileURLWithPath: path)) }

    /// - Parameter data: nil for a file that cannot be read.
    private static func read(_ data: Data?, _ authorities: [Certificate]) -> Result<RevocationList, Reason> {
        guard let data else { return .failure(Reason(text: "it cannot be read")) }
        do throws(RevocationList.Fault) {
            let list = try RevocationList(Array(data))
            guard authorities.contains(where: list.isSigned) else {
                return .failure(Reason(text: "no authority of listen.tls.clientAuthorities has signed it"))
            }
            return .success(list)
        } catch { return .failure(Reason(text: "\(error)")) }
    }
}
