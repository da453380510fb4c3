import SecretMemory

extension SoftwareKMS {
    /// Wraps all master keys under a key-encryption key of another passphrase, in one atomic replacement of the file:
    /// after a crash at any moment there is the old file or the new one. Master keys stay, and with them whatever they
    /// sealed.
    ///
    /// Other processes that have the keystore open fail as unavailable from then on, until they are started with the
    /// new passphrase. Copies of the file that somebody made before still open under the old one.
    /// - Parameter scryptCost: nil for that of the file.
    /// - Throws: ``SoftwareKMSError``.
    public func changePassphrase(
        from old: borrowing SecretBytes, to new: borrowing SecretBytes, scryptCost: ScryptCost? = nil
    ) async throws(SoftwareKMSError) {
        guard !old.equals(new) else { throw .samePassphrase }
        try await wrapAgain(from: old, to: new, scryptCost: scryptCost)
    }

    /// As ``changePassphrase(from:to:scryptCost:)``, with the passphrase that it has: a new salt makes another
    /// key-encryption key. What is wrapped under one key stays bounded, and the cost can be raised.
    /// - Parameter scryptCost: nil for that of the file.
    /// - Throws: ``SoftwareKMSError``.
    public func rotateKeystore(
        passphrase: borrowing SecretBytes, scryptCost: ScryptCost? = nil
    ) async throws(SoftwareKMSError) {
        try await wrapAgain(from: passphrase, to: passphrase, scryptCost: scryptCost)
    }

    private func wrapAgain(
        from old: borrowing SecretBytes, to new: borrowing SecretBytes, scryptCost: ScryptCost?
    ) async throws(SoftwareKMSError) {
        // Before the lock is taken, because scrypt takes its time.
        let known = try refreshed().keyring.document
        let cost = try known.cost()
        let held = try KeyEncryptionKey(passphrase: old, salt: known.passphrase.salt, cost: cost)
        guard try held.isAuthentic(known.passphrase.check, of: known.passphrase.checkContext) else {
            throw .wrongPassphrase(path: file.path)
        }
        let (kek, parameters) = try KeyEncryptionKey.make(
            passphrase: new, cost: scryptCost ?? cost, path: file.path)
        let lock = try await lock()
        try withExtendedLifetime(lock) { () throws(SoftwareKMSError) in
            // As the file is now: keys may have been made meanwhile.
            let keyring = try refreshed().keyring
            // Overtaken by another change: the passphrase that was checked is not that of now.
            guard keyring.document.passphrase == known.passphrase else { throw .busy(path: file.path) }
            let document = try keyring.document(under: kek, passphrase: parameters, path: file.path)
            try replace(with: document, under: kek)
        }
    }
}
