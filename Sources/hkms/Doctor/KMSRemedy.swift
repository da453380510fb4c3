import KeyManagement

/// What an operator does about a KMS that refuses, in the words of its kind.
struct KMSRemedy: Sendable {
    /// The adapter.
    let provider: String
    /// Of the configuration: `kms`.
    let section: String

    init(_ settings: KMSSettings) {
        provider = settings.provider
        section = settings.section
    }

    func fix(for error: KMSError) -> String {
        let own =
            switch provider {
            case "openbao": openBao(error)
            case "pkcs11": pkcs11(error)
            case "software": software(error)
            default: String?.none
            }
        return own ?? common(error)
    }

    private func common(_ error: KMSError) -> String {
        switch error {
        case .unavailable: "See that the KMS runs, and that the section \(section) says where."
        case .throttled: "Try again later, or raise the KMS's limit for this credential."
        case .denied: "Give the gateway a credential that may use the key of \(section).key."
        case .keyNotFound: "Correct \(section).key, or have the key made; hkms init makes one where its credential may."
        case .keyUnusable: "Have the key enabled as the message says, or name one that is under \(section).key."
        case .cannotOpen: "Find out who changed the key in the KMS; its versions may have been destroyed."
        case .notSupported: "Choose another mechanism or KMS: see what it offers in docs/kms."
        case .invalidResponse: "Check what the section \(section) names, and its version."
        case .memory: "Raise the limit of locked memory (LimitMEMLOCK= in systemd, --ulimit memlock= for containers)."
        }
    }

    private func openBao(_ error: KMSError) -> String? {
        switch error {
        case .unavailable:
            "See that the KMS runs and is unsealed, and that this machine reaches the address in the section "
                + "\(section); its certificate must be of an authority that is believed there."
        case .denied:
            "Give the gateway a credential that has not expired, with the policy of docs/configuration.md "
                + "(Least-privilege policy), which names one key: that of \(section).key."
        case .invalidResponse: "Check address, mount and version of the KMS in the section \(section)."
        default: nil
        }
    }

    private func pkcs11(_ error: KMSError) -> String? {
        switch error {
        case .unavailable:
            "See that this user reaches token and module (pkcs11-tool --module MODULE --list-token-slots), and that "
                + "\(section).pkcs11.uri names both."
        case .denied:
            "Where it is the PIN, correct it in what \(section).pkcs11 names before anything asks again: tokens lock "
                + "after a few wrong ones. Else have the token's administrator allow it (docs/kms/pkcs11.md)."
        case .keyNotFound:
            "Correct \(section).key, or have the key made on the token; hkms init makes one (docs/kms/pkcs11.md)."
        case .keyUnusable:
            "Name a key under \(section).key whose attributes allow this; docs/kms/pkcs11.md lists them."
        case .cannotOpen: "Find out who changed the key on the token; its versions may have been destroyed."
        case .notSupported:
            "Choose another \(section).pkcs11.mechanism: pkcs11-tool --list-mechanisms shows what the token has."
        case .invalidResponse: "Check the module's version and its manual; see what docs/kms/pkcs11.md says of it."
        case .throttled, .memory: nil
        }
    }

    private func software(_ error: KMSError) -> String? {
        switch error {
        case .unavailable, .denied, .invalidResponse:
            "See that the keystore and its passphrase are those that \(section).software names: hkms keystore show."
        case .keyNotFound:
            "Correct \(section).key: hkms keystore show lists the keys; or restore the keystore from a backup."
        case .keyUnusable: "Name another key under \(section).key: hkms keystore show lists them with their versions."
        case .cannotOpen:
            "Restore the keystore from a backup: what it sealed opens under the key that it had then."
        case .throttled, .notSupported, .memory: nil
        }
    }
}

extension DoctorCheck {
    /// The same check, whose errors of the KMS come with what to do about them.
    func explained(by remedy: KMSRemedy) -> DoctorCheck {
        DoctorCheck(name, after: after, fix: fix) { [examine] in
            do { return try await examine() } catch let error as KMSError {
                throw DoctorFailure(error.description, fix: remedy.fix(for: error))
            }
        }
    }
}
