import SecretMemory

/// What a login answers: a token, and how long and how often it is good.
package struct LoginAnswer: Sendable {
    let token: OpenBaoToken
    /// Nil where the token does not expire.
    let lifetime: Duration?
    let renewable: Bool
    /// How many requests the token is good for; nil where they are not counted.
    let uses: Int?
    /// The entity that the server takes the caller for; nil where there is none.
    package let entity: String?

    /// - Returns: nil for anything but such an answer.
    package init?(_ body: UnsafeRawBufferPointer) throws(SecretMemoryError) {
        let token: OpenBaoToken?
        do {
            token = try Self.token(in: body)
            guard let seconds = try SecretJSON.integer("auth", "lease_duration", in: body), seconds >= 0,
                let renewable = try SecretJSON.boolean("auth", "renewable", in: body)
            else { return nil }
            lifetime = seconds == 0 ? nil : .seconds(seconds)
            self.renewable = renewable
            let uses = try SecretJSON.integer("auth", "num_uses", in: body) ?? 0
            guard uses >= 0 else { return nil }
            self.uses = uses == 0 ? nil : uses
            let entity =
                try SecretJSON.string("auth", "entity_id", in: body) ?? UnsafeRawBufferPointer(rebasing: body[..<0])
            self.entity = entity.isEmpty ? nil : String(decoding: entity, as: UTF8.self)
        } catch let error as SecretMemoryError {
            throw error
        } catch {
            return nil
        }
        guard let token else { return nil }
        self.token = token
    }

    private static func token(in body: UnsafeRawBufferPointer) throws -> OpenBaoToken? {
        guard let text = try SecretJSON.string("auth", "client_token", in: body) else { return nil }
        return OpenBaoToken(taking: try SecretBytes(copying: text))
    }
}
