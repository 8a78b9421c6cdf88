"""Vision: the only room with torch. Data, training, evaluation and export of networks.

Importing the package imports no torch: `vision.classification.train`, `vision.pretrained.build` and
`vision.warm.prepare` do. It knows no job, no server and no token; whoever runs it passes a `vision.story.Story`.
"""
