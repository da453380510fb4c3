/// A question before what cannot be undone.
enum Confirmation {
    /// - Returns: false where nobody can be asked.
    static func isGiven(_ question: String) -> Bool {
        guard Terminal.inputIsTerminal, Terminal.errorIsTerminal else { return false }
        Terminal.tell("\(Terminal.printable(question))\nType yes to go on: ")
        return readLine(strippingNewline: true) == "yes"
    }

    static func missing(_ what: String) -> CommandFailure {
        CommandFailure(
            title: "Nothing done", detail: "\(what) was not confirmed",
            fix: "Answer yes, or give --yes where nobody can be asked.", code: .validationFailure)
    }
}
