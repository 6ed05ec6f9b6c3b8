// From nothing to a task done and work followed live. A test of the project compiles this folder and runs this function
// against a running API, with a browser of its own.
package org.openassistant.example

/**
 * `browser` opens an address and answers the address with which the browser came back to the app; `keep` writes the
 * tokens down; `say` shows what happens.
 */
fun tenMinutes(
    issuer: String, clientId: String, redirect: String,
    browser: (String) -> String, keep: (Tokens) -> Unit, say: (String) -> Unit,
) {
    // 1. Sign in.
    val signIn = SignIn(issuer, clientId, redirect)
    val attempt = signIn.begin()
    val tokens = signIn.finish(attempt, browser(attempt.address)).also(keep)
    val session = Session(signIn, tokens, keep)
    val client = Client("$issuer/graphql", session::token)

    // 2. What is there to do?
    val viewer = client.viewer(listOf("en")) ?: throw ApiError("UNAUTHENTICATED", "nobody is signed in")
    say("signed in: ${viewer.user.displayName}")
    say("open: " + viewer.availableTasks.filter { it.count > 0 }.joinToString { "${it.count} ${it.kind}" })

    // 3. Take a task and answer it. Sending the same answer again is safe: it counts once.
    val task = client.takeTask(listOf("en"), "INITIAL_PROMPT") ?: return say("nothing to do")
    val message = client.prompt(task, "Why do leaves fall? (${task.id})")
    say("written: ${message?.text}")

    // 4. Follow open work; the first event comes at once.
    client.watchTasks(listOf("en")) { open ->
        say("live: ${open.size} kinds of work")
        false
    }
}
