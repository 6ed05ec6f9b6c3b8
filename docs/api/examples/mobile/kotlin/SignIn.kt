// Sign-in from an app (RFC 8252): authorization code with PKCE in the system's browser, then refresh. The browser itself
// is not in here: on Android it is a Custom Tab, and what comes back arrives in `onNewIntent`.
package org.openassistant.example

import java.net.HttpURLConnection
import java.net.URI
import java.net.URLDecoder
import java.net.URLEncoder
import java.security.MessageDigest
import java.security.SecureRandom
import java.util.Base64
import org.json.JSONObject

/** A sign-in that was begun: open `address`, and keep the whole until the browser comes back (`onSaveInstanceState`). */
data class Attempt(val address: String, val state: String, val verifier: String)

/** `expiresAt` in milliseconds of `System.currentTimeMillis`. `refresh` belongs in the Keystore, `access` in memory. */
data class Tokens(val access: String, val expiresAt: Long, val refresh: String?)

class SignIn(private val issuer: String, private val clientId: String, private val redirect: String) {
    fun begin(scope: String = "read profile tasks offline_access"): Attempt {
        val state = random()
        val verifier = random()
        val digest = MessageDigest.getInstance("SHA-256").digest(verifier.toByteArray())
        val query = form(
            "response_type" to "code", "client_id" to clientId, "redirect_uri" to redirect, "scope" to scope,
            "state" to state, "code_challenge" to encode(digest), "code_challenge_method" to "S256",
        )
        return Attempt("$issuer/oauth/authorize?$query", state, verifier)
    }

    /** The tokens, of the address with which the browser came back. */
    fun finish(attempt: Attempt, address: String): Tokens {
        val answer = query(address)
        // Not the answer to what we asked, or of another server (RFC 9207): neither is to be believed in anything.
        if (answer["state"] != attempt.state || answer["iss"] != issuer) throw ApiError("FORBIDDEN", "not our answer")
        answer["error"]?.let { throw ApiError(it, answer["error_description"] ?: it) }
        return token(
            "grant_type" to "authorization_code", "code" to answer.getValue("code"),
            "code_verifier" to attempt.verifier, "redirect_uri" to redirect,
        )
    }

    /** New tokens; the old refresh token is used up, and using it again ends the session. */
    fun refresh(refresh: String): Tokens = token("grant_type" to "refresh_token", "refresh_token" to refresh)

    private fun token(vararg fields: Pair<String, String>): Tokens {
        val headers = mapOf("content-type" to "application/x-www-form-urlencoded", "accept" to "application/json")
        val connection = post("$issuer/oauth/token", form(*fields, "client_id" to clientId), headers)
        val said = JSONObject(connection.text())
        if (connection.responseCode != HttpURLConnection.HTTP_OK) {
            throw ApiError(said.optString("error", "server_error"), said.optString("error_description"))
        }
        val expiresAt = System.currentTimeMillis() + said.getLong("expires_in") * 1000
        return Tokens(said.getString("access_token"), expiresAt, said.optString("refresh_token").ifEmpty { null })
    }
}

/** The one place of an app that renews its tokens. `keep` writes them down before they are used. */
class Session(private val signIn: SignIn, private var tokens: Tokens, private val keep: (Tokens) -> Unit) {
    /** An access token that is good for another minute. Where it throws `invalid_grant`, sign in again. */
    @Synchronized
    fun token(): String {
        val refresh = tokens.refresh
        if (refresh != null && tokens.expiresAt < System.currentTimeMillis() + 60_000) {
            tokens = signIn.refresh(refresh).also(keep)
        }
        return tokens.access
    }
}

private fun random(): String = encode(ByteArray(32).also(SecureRandom()::nextBytes))

private fun encode(bytes: ByteArray): String = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes)

private fun form(vararg fields: Pair<String, String>): String =
    fields.joinToString("&") { (name, value) -> "$name=${URLEncoder.encode(value, "UTF-8")}" }

private fun query(address: String): Map<String, String> =
    URI(address).rawQuery.orEmpty().split("&").associate { part ->
        part.substringBefore("=") to URLDecoder.decode(part.substringAfter("=", ""), "UTF-8")
    }
