// Runs the Kotlin example for tests/api/test_kotlin_example.py. Its browser is whoever reads standard output: an address
// goes out, the address with which the browser came back comes in.
package org.openassistant.example

fun main(args: Array<String>) {
    val (issuer, clientId, redirect) = args
    val kept = mutableListOf<Tokens>()
    tenMinutes(issuer, clientId, redirect, ::browser, { kept += it }, ::println)

    val signIn = SignIn(issuer, clientId, redirect)
    val session = Session(signIn, kept.last().copy(expiresAt = 0)) { kept += it }
    val again = Client("$issuer/graphql", session::token).viewer(listOf("en"))
    println("renewed: ${again?.user?.displayName} ${kept.size} ${kept[0].refresh != kept[1].refresh}")
    println("kept: ${Client("$issuer/graphql", session::token).viewer(listOf("en")) == again} ${kept.size}")

    val attempt = signIn.begin()
    refused { signIn.finish(attempt, "$redirect?code=x&state=other&iss=$issuer") }
    refused { signIn.finish(attempt, "$redirect?code=x&state=${attempt.state}&iss=http://else.example.org") }
    refused { signIn.finish(attempt, "$redirect?error=access_denied&state=${attempt.state}&iss=$issuer") }
    refused { signIn.finish(attempt, "$redirect?code=x&state=${attempt.state}&iss=$issuer") }
    refused { Client("$issuer/graphql").takeTask(listOf("en")) }
    refused { Client("$issuer/graphql").watchTasks(listOf("en")) { true } }
}

private fun browser(address: String): String {
    println(address)
    return readln()
}

private fun refused(act: () -> Unit) =
    try {
        println("not refused: ${act()}")
    } catch (error: ApiError) {
        println("refused: ${error.code}")
    }
