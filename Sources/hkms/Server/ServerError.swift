/// Why a server does not start.
enum ServerError: Error, CustomStringConvertible {
    case developmentKeystore(String)
    case noPassphrase(String)
    case noCredential(setting: String, path: String, reason: String)
    case noInstallationKey(String)
    case coreDumps
    case noCallers(String)

    var description: String {
        switch self {
        case .developmentKeystore(let path):
            "\(path) is a development keystore: its passphrase lies beside it. "
                + "Set development: true for a trial, or make a keystore of your own with hkms init"
        case .noCredential(let setting, let path, let reason):
            "cannot read \(path), which \(setting) of the configuration names (\(reason)): put the secret there for "
                + "the user who runs this, or correct that line"
        case .noInstallationKey(let path):
            "cannot read \(path), the installation's sealed key that hkms init made: restore it from a backup, "
                + "or correct installation.sealedKey"
        case .coreDumps:
            "the system does not let this process forbid core dumps of itself, which could hold keys; "
                + "for a trial, set development: true"
        case .noCallers(let name):
            "the KMS \(name) is not set up to authenticate principals: keys: perPrincipal needs it "
                + "(openbao.delegated; docs/kms/openbao.md)"
        case .noPassphrase(let variable):
            "the environment variable \(variable) is empty, not set, or read before: it is wiped once it is read, so that "
                + "every section that takes a passphrase or PIN from the environment needs a variable of its own"
        }
    }
}
