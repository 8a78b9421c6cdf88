"""The door for people: pages, made of templates over the same services as REST. It translates and never decides."""
