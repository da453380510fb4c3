import NIOCertificateReloading
import NIOSSL
import ServiceKit

extension CertificateFiles {
    /// Reads both, and again every `interval` while the result runs: what was renewed is used for new connections,
    /// and what cannot be used is not.
    /// - Parameter onEvent: told of each renewal, and of each try that failed.
    /// - Throws: ``TLSError/identity(certificate:key:reason:)``.
    public func reloader(
        every interval: Duration = .seconds(30), onEvent: @escaping @Sendable (ReloadEvent) -> Void = { _ in }
    ) throws(TLSError) -> TimedCertificateReloader {
        let files = self
        let configuration = TimedCertificateReloader.Configuration(
            refreshInterval: interval, certificateSource: .init(location: .file(path: certificate), format: .pem),
            privateKeySource: .init(location: .file(path: key), format: .pem)
        ) {
            $0.onCertificateLoaded = { change in
                guard change.previousX509CertificateChain != change.currentX509CertificateChain,
                    change.previousX509CertificateChain != nil
                else { return }
                onEvent(.renewed(files))
            }
            $0.onCertificateLoadFailed = { onEvent(.failed(files, reason: Self.reason($0.error))) }
        }
        do {
            return try TimedCertificateReloader.makeReloaderValidatingSources(configuration: configuration)
        } catch {
            throw .identity(certificate: certificate, key: key, reason: Self.reason(error))
        }
    }

    public enum ReloadEvent: Sendable {
        /// New connections have the new certificate.
        case renewed(CertificateFiles)
        /// The files cannot be used now: connections go on with what was read before.
        case failed(CertificateFiles, reason: String)
    }

    /// Words of our own: none that repeats what is in a file.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case TimedCertificateReloader.Error.publicKeyMismatch as TimedCertificateReloader.Error:
            return "the key is not that of the certificate"
        case is TimedCertificateReloader.Error: return "a file is not there, cannot be read or holds something else"
        default: return "the files are not PEM with a certificate chain and an unencrypted private key"
        }
    }
}
