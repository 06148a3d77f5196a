"""The kind of backend that people write for Azure AD, and that ends in 403: it checks the token and
says yes, but nobody tells Flask-AppBuilder who is calling."""

from functools import wraps

import jwt
from flask import Response, request

CLIENT_AUTH = None


def init_app(app):
    pass


def requires_authentication(function):
    @wraps(function)
    def decorated(*args, **kwargs):
        try:
            token = request.headers["Authorization"].split(" ")[1]
            claims = jwt.decode(token, options={"verify_signature": False})
        except (LookupError, jwt.PyJWTError):
            return Response("Unauthorized", 401)
        if "Admin" not in claims.get("roles", []):
            return Response("Forbidden", 403)
        return function(*args, **kwargs)

    return decorated
