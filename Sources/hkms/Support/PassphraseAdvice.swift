import SecretMemory

/// What is said of a passphrase that is chosen now. One that is in use is taken as it is.
enum PassphraseAdvice {
    private static let shortestBytes = 12

    /// Warns of one that whoever has the keystore would guess, for all of scrypt's work.
    static func warn(of passphrase: borrowing SecretBytes) {
        guard passphrase.count < shortestBytes else { return }
        Terminal.tell(
            "hkms: warning: the passphrase has fewer than \(shortestBytes) bytes: whoever gets a copy of the keystore "
                + "tries out all of that length\n"
                + "  fix: Take 20 random characters (openssl rand -base64 15); hkms keystore passphrase changes it.\n")
    }
}
