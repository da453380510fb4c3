/// An error that a person can act on: what kind, what happened, what to do.
///
/// None of the texts ever carries a token or a key.
public protocol ActionableError: Error {
    /// The kind of error in a few words.
    var title: String { get }
    /// What happened this time.
    var detail: String { get }
    /// What to do about it, one sentence.
    var fix: String { get }
}
