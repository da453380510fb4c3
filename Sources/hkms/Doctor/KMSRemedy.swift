import KeyManagement

/// What an operator does about a KMS that refuses.
enum KMSRemedy {
    static func fix(for error: KMSError) -> String {
        switch error {
        case .unavailable:
            "See that the KMS runs and is unsealed, and that this machine reaches the address in the section kms; "
                + "its certificate must be of an authority that is believed there."
        case .throttled: "Try again later, or raise the KMS's limit for this credential."
        case .denied:
            "Give the gateway a credential that has not expired, with the policy of docs/configuration.md "
                + "(Least-privilege policy), which names one key: that of kms.key."
        case .keyNotFound: "Correct kms.key, or have the key made; hkms init makes one where its credential may."
        case .keyUnusable: "Have the key enabled as the message says, or name one that is under kms.key."
        case .cannotOpen: "Find out who changed the key in the KMS; its versions may have been destroyed."
        case .notSupported: "Choose another mechanism or KMS: see what it offers in docs/configuration.md."
        case .invalidResponse: "Check address, mount and version of the KMS in the section kms."
        case .memory: "Raise the limit of locked memory (LimitMEMLOCK= in systemd, --ulimit memlock= for containers)."
        }
    }
}
